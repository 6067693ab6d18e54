"""One benchmark's leaderboard as a sheet: comparable runs ranked, and what papers report."""

from __future__ import annotations

from collections.abc import Sequence

from ovbench.leaderboards.reported.counterparts import Counterpart, counterpart, reported_on
from ovbench.leaderboards.reported.evidence import figure_notes
from ovbench.leaderboards.reported.published import Figure, cite, marks
from ovbench.leaderboards.tables.fields import PAPER, Field, View
from ovbench.leaderboards.tables.labels import labels
from ovbench.leaderboards.tables.sheet import DASH, Cell, Column, Sheet, places
from ovbench.leaderboards.tables.table import Board, Result, footnotes


def board_sheet(board: Board, view: View, *, with_reported: bool = False) -> Sheet:
    """A board as a sheet.

    Args:
        with_reported: add what papers print for the benchmark. Boards of miniature weights
            never have it.

    Raises:
        UsageError: the view names what is not there.
    """
    rows = view.ordered(board.rows)
    named = labels(rows)
    methods = [Cell(named[r["run"]["id"]], notes=tuple(footnotes(r))) for r in rows]
    columns = [Column("#"), Column("method", numeric=False)]
    cells = [[Cell(str(rank)) for rank in range(1, len(rows) + 1)], methods]
    for field in view.fields():
        shown = _deltas(rows) if field is PAPER else _shown(field, rows)
        empty = all(cell.text == DASH for cell in shown)  # such as a GPU's memory on a CPU
        if empty and field.name not in (*view.columns, view.metric):
            continue
        columns.append(Column(field.title, field.numeric))
        cells.append(shown)
    beside = []
    if with_reported:
        titles = [column.title for column in columns]
        beside = [_reported(figure, titles) for figure in reported_beside(board)]
    return Sheet(board.title, columns, list(zip(*cells, strict=True)), beside)


def reported_beside(board: Board) -> Sequence[Figure]:
    """The figures that papers print for a board's benchmark; none beside miniature weights."""
    toy = board.conditions.checkpoints == "toy"
    return () if toy else reported_on(board.rows[0]["run"])


def delta_words(found: Counterpart) -> str:
    """The difference to a paper as tables print it."""
    return f"{found.delta:+.1f}".replace("-", "−")


def _shown(field: Field, rows: Sequence[Result]) -> list[Cell]:
    texts = [field.show(result) for result in rows]
    best = places(texts) if field.ranked else [None] * len(rows)
    return [Cell(t, p, verbatim=field.verbatim) for t, p in zip(texts, best, strict=True)]


def _deltas(rows: Sequence[Result]) -> list[Cell]:
    """Differences to the papers."""
    found = [counterpart(result) for result in rows]
    return [
        Cell(delta_words(one), notes=(_against(one),))
        if isinstance(one, Counterpart)
        else Cell(DASH)
        for one in found
    ]


def _against(found: Counterpart) -> str:
    figure = found.figure
    definition = "" if found.definition == "union" else f", mIoU as {found.definition}"
    return f"against {figure.value} on {figure.dataset}, {cite(figure)}{definition}"


def _reported(figure: Figure, titles: Sequence[str]) -> list[Cell]:
    details = ", ".join(figure.details)
    name = f"{figure.method} ({details})" if details else figure.method
    conditions = [marks()[mark].meaning for mark in figure.marks]
    told = (f"as {cite(figure)} prints it", *figure_notes(figure), *conditions)
    known = {
        "method": Cell(name, notes=told),
        "mIoU": Cell(figure.printed),
        "run": Cell("reported"),
    }
    return [known.get(title, Cell("")) for title in titles]
