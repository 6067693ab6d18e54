"""A table that fits a terminal: columns as wide as their words, or a line for every cell.

Left to itself rich cuts words, then whole columns, where a terminal is narrower than a table.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table

_FOLDED = 18
"""A column that may fold breaks longer words than this before a table is taken apart."""
_ENDLESS = 10**6


@dataclass(slots=True)
class _Width:
    """Of a column, in characters without the space around it."""

    least: int
    most: int


def fitted(table: Table, console: Console) -> Table:
    """The table, with widths that cut no word where a console has room for every column.

    Where it has none, what stands in a row is shown line by line, each behind its heading.
    """
    widths = [_of(column, console) for column in table.columns]
    whole = Measurement.get(console, console.options.update(width=_ENDLESS), table).maximum
    room = console.width - (whole - sum(width.most for width in widths))  # lines and padding
    for width in widths:  # rich measures an empty column as nothing and draws it one wide
        width.most, width.least = max(width.most, 1), max(width.least, 1)
    if sum(width.most for width in widths) <= room:
        return table
    if sum(width.least for width in widths) > room:
        return _by_lines(table)
    chosen = [width.least for width in widths]
    for _ in range(room - sum(chosen)):  # short columns are whole before long ones are wide
        wrapped = [place for place, width in enumerate(widths) if chosen[place] < width.most]
        chosen[min(wrapped, key=chosen.__getitem__)] += 1
    for column, own in zip(table.columns, chosen, strict=True):
        column.width = own
    return table


def _of(column: Column, console: Console) -> _Width:
    options = console.options.update(width=_ENDLESS)
    cells = [column.header, *column.cells] if column.header else list(column.cells)
    found = [Measurement.get(console, options, cell) for cell in cells]
    most = max((one.maximum for one in found), default=0)
    least = most if column.no_wrap else max((one.minimum for one in found), default=0)
    return _Width(min(least, _FOLDED) if column.overflow == "fold" else least, most)


def _by_lines(table: Table) -> Table:
    made = Table(title=table.title, title_justify="left", show_header=False, box=None)
    made.add_column(overflow="fold")
    headings = [str(column.header) for column in table.columns]
    for number, row in enumerate(zip(*(column.cells for column in table.columns), strict=True)):
        words = [", ".join(str(cell).splitlines()) for cell in row]
        if not any(headings):  # a name and what it says
            made.add_row(" ".join(filter(None, words)))
            continue
        if number:
            made.add_row("")
        for heading, cell in zip(headings, words, strict=True):
            if cell:
                made.add_row(f"{heading}: {cell}" if heading else cell)
    return made
