"""How long work looks on stderr, whatever it is: a bar on a terminal, a pace in a log."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LOG_EVERY_S = 30.0


def progress_bar() -> Progress:
    """A bar with count, elapsed and remaining time on stderr."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )


@dataclass(slots=True)
class Pace:
    """When a log's next line is due, and how long the rest will take.

    Attributes:
        total: how many there are to do.
        every_s: at least so many seconds lie between two lines.
        done: how many of them are done.
    """

    total: float
    every_s: float
    done: float = 0
    _begin: float = field(default_factory=time.monotonic)
    _last: float = field(default_factory=time.monotonic)

    def advance(self, done: float = 1) -> bool:
        """Some more are done; whether a line is due."""
        self.done += done
        now = time.monotonic()
        due = now - self._last >= self.every_s
        if due:
            self._last = now
        return due

    @property
    def left_s(self) -> float:
        """Seconds for the rest, if it takes as long as what is done."""
        if not self.done:
            return float("inf")
        return (time.monotonic() - self._begin) / self.done * (self.total - self.done)
