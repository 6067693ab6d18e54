"""Who keeps what is said of long work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace


class Watcher:
    """Keeps what it is told of long work."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.works: list[SimpleNamespace] = []

    @contextmanager
    def watch(self, title: str, total: int) -> Iterator[Callable[[float], None]]:
        work = SimpleNamespace(title=title, total=total, done=0.0)
        self.works.append(work)

        def advance(done: float) -> None:
            work.done += done

        yield advance

    def says(self, line: str) -> None:
        self.lines.append(line)
