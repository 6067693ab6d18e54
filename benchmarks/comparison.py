"""What every benchmark answers with, and how contestants are timed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Row:
    """ovbench and one other.

    Attributes:
        name: what both do.
        against: the other.
        unit: of both figures, such as ``"s"`` or ``"MiB"``: less is better.
        ours, theirs: medians; None where only their ratio is known.
        ratio: theirs over ours.
        spread: the least and the largest ratio of two neighbouring turns; None where turns were
            not told apart.
        note: what else is to be known, such as how far answers agree.
    """

    name: str
    against: str
    unit: str
    ours: float | None
    theirs: float | None
    ratio: float
    spread: tuple[float, float] | None = None
    note: str = ""

    @classmethod
    def of(
        cls, name: str, against: str, unit: str, ours: Sequence[float], theirs: Sequence[float]
    ) -> Row:
        """From what both took, turn by turn."""
        fast, slow = median(ours), median(theirs)
        ratios = [other / own for own, other in zip(ours, theirs, strict=True)]
        spread = (min(ratios), max(ratios)) if len(ratios) > 1 else None
        return cls(name, against, unit, fast, slow, slow / fast, spread)


def in_turn(
    contestants: Mapping[str, Callable[[], object]],
    repeats: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
    per_second: float = 1.0,
) -> dict[str, list[float]]:
    """What each took, behind a first turn: a machine that others use is unfair to none.

    Args:
        clock: ``time.process_time`` leaves out what others took.
        per_second: in units of the answer, such as 1000 for milliseconds.
    """
    spent: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(repeats + 1):
        for name, call in contestants.items():
            start = clock()
            call()
            if turn:
                spent[name].append((clock() - start) * per_second)
    return spent


def peak_mib(module: str, *arguments: str) -> float:
    """What ``python -m module arguments`` prints, bytes, as MiB: a peak is a process's own."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout) / 2**20


def show(rows: Iterable[Row]) -> None:
    """Print them as a table."""
    table = Table()
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in HEADINGS[:2] else "right")
    for row in rows:
        table.add_row(*cells(row))
    Console(width=140).print(table)


HEADINGS = ("", "instead of ovbench", "ovbench", "instead", "ratio", "spread", "")


def cells(row: Row) -> tuple[str, ...]:
    """A row as text, below :data:`HEADINGS`."""
    low, high = row.spread or (None, None)
    spread = "" if low is None or high is None else f"{figure(low)}–{figure(high)}"
    amounts = (_amount(row.ours, row.unit), _amount(row.theirs, row.unit))
    return (row.name, row.against, *amounts, figure(row.ratio), spread, row.note)


def figure(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _amount(value: float | None, unit: str) -> str:
    return "" if value is None else f"{figure(value)} {unit}"
