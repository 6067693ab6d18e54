"""How long work looks in a log, whatever it is: a line now and then."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

LOG_EVERY_S = 30.0


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
