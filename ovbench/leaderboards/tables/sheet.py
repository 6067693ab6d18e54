"""A table before it is Markdown, HTML or LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Place: TypeAlias = Literal[1, 2]
DASH = "–"


@dataclass(frozen=True, slots=True)
class Column:
    """A heading; numbers stand at the right."""

    title: str
    numeric: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in one place.

    Attributes:
        place: 1 for the best of the column, 2 for the second best, else None.
        notes: footnotes.
        verbatim: an identifier, set in a typewriter's face.
    """

    text: str
    place: Place | None = None
    notes: tuple[str, ...] = ()
    verbatim: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table.

    Attributes:
        rows: each with one cell per column.
        beside: further rows that take no part in the ranking.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    beside: Sequence[Sequence[Cell]] = ()

    @property
    def notes(self) -> Sequence[str]:
        """The footnotes of all cells in the order in which one reads them; equal ones are one."""
        rows = (*self.rows, *self.beside)
        return list(dict.fromkeys(note for row in rows for cell in row for note in cell.notes))

    def marks(self, cell: Cell) -> str:
        """The numbers of a cell's footnotes, which count from 1; empty where it has none."""
        numbers = sorted({self.notes.index(note) + 1 for note in cell.notes})
        return ",".join(map(str, numbers))


def number(value: float | None, style: str) -> str:
    """A number in a format such as ``".2f"``; a dash where it is undefined."""
    return DASH if value is None else format(value, style)


def places(texts: Sequence[str]) -> list[Place | None]:
    """The best and the second best of numbers as printed; equal ones share a place.

    What is no number has none. A column with fewer than two different numbers has no best.
    """
    values = [float(text) if text != DASH else None for text in texts]
    order = sorted({value for value in values if value is not None}, reverse=True)[:2]
    if len(order) < 2:
        return [None] * len(texts)
    found: dict[float | None, Place] = {order[0]: 1, order[1]: 2}
    return [found.get(value) for value in values]
