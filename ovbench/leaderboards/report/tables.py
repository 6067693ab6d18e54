"""Tables whose columns can be sorted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ovbench.leaderboards.report.markup import Content, Html, el
from ovbench.leaderboards.tables.numbers import percent

_TALL = 40
"""Rows; a table of more scrolls by itself, or the rest of the page would be far away."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading, and what it means if that is not plain."""

    title: str
    numeric: bool = True
    help: str | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell shows, and what it is sorted by; None comes last in either order."""

    content: Content
    value: float | str | None


def sortable(
    name: str, label: str, columns: Sequence[Column], rows: Sequence[Sequence[Cell]]
) -> Html:
    """A table with a button in every heading; the script sorts.

    Args:
        name: id of the element.
        label: what assistive technology calls the table.
        rows: the first cell of each is its heading.
    """
    head = el("thead", el("tr", [_heading(column) for column in columns]))
    body = el("tbody", [_row(columns, row) for row in rows])
    table = el("table", head, body, id=name, aria_label=label, class_="sortable")
    if len(rows) <= _TALL:
        return el("div", table, class_="wide")
    return el("div", table, class_="wide tall", tabindex=0, role="region", aria_label=label)


def facts(rows: Iterable[tuple[Content, Sequence[Content]]], heads: Sequence[str] = ()) -> Html:
    """A plain table: a name and one value per run in each row.

    Args:
        heads: of the values' columns; none is written if there are none.
    """
    head = el("thead", el("tr", el("td"), [el("th", one, scope="col") for one in heads]))
    body = [
        el("tr", el("th", name, scope="row"), [el("td", value) for value in values])
        for name, values in rows
    ]
    return el("div", el("table", head if heads else None, el("tbody", body), class_="facts"),
              class_="wide")  # fmt: skip


def percent_cell(value: float | None) -> Cell:
    """A percentage."""
    return Cell(percent(value), value)


def bar_cell(value: float | None, text: str, full: float) -> Cell:
    """A number with a bar behind it that is full at ``full``."""
    width = 0.0 if value is None or not full else min(100.0, max(0.0, 100 * value / full))
    bar = el("span", el("i", style=f"width:{width:.2f}%"), class_="bar", aria_hidden="true")
    return Cell(el("span", bar, el("span", text, class_="figure"), class_="barred"), value)


def _heading(column: Column) -> Html:
    button = el("button", column.title, type="button", title=column.help)
    return el("th", button, scope="col", aria_sort="none", class_=_class(column))


def _row(columns: Sequence[Column], row: Sequence[Cell]) -> Html:
    first, *others = row
    cells = [
        el("td", cell.content, data_v=_key(cell), class_=_class(column))
        for column, cell in zip(columns[1:], others, strict=True)
    ]
    heading = el("th", first.content, scope="row", data_v=_key(first), class_=_class(columns[0]))
    return el("tr", heading, cells)


def _class(column: Column) -> str | None:
    return "n" if column.numeric else None


def _key(cell: Cell) -> str:
    value = cell.value
    return value if isinstance(value, str) else "" if value is None else f"{value:.9g}"
