"""The long work of a method, such as what it prepares, shown on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

from ovbench.cli.progress_bar import LOG_EVERY_S, Pace, progress_bar
from ovbench.harness.progress import Advance, watching


@contextmanager
def work_shown(on_screen: Progress | None = None) -> Iterator[None]:
    """Show what says that it takes long: a bar on a terminal, a line now and then in a log.

    Args:
        on_screen: bars that are drawn already; the new ones come below them.
    """
    with watching(_Bars(on_screen) if sys.stderr.isatty() else _Lines()):
        yield


class _Bars:
    """Bars while there is work, and nothing else of the screen."""

    def __init__(self, on_screen: Progress | None) -> None:
        self._on_screen = on_screen

    @contextmanager
    def watch(self, title: str, total: int) -> Iterator[Advance]:
        if self._on_screen is None:
            with progress_bar() as self._on_screen, self.watch(title, total) as advance:
                yield advance
            self._on_screen = None
            return
        progress = self._on_screen
        task = progress.add_task(title, total=total, note="")
        yield lambda done: progress.advance(task, done)

    def says(self, line: str) -> None:
        console = self._on_screen.console if self._on_screen else Console(stderr=True)
        console.print(line, markup=False, highlight=False, soft_wrap=True)


class _Lines:
    @contextmanager
    def watch(self, title: str, total: int) -> Iterator[Advance]:
        pace = Pace(total, LOG_EVERY_S)

        def advance(done: float) -> None:
            if pace.advance(done):
                self.says(f"{title}: {pace.done:.0f}/{total}, {pace.left_s:.0f} s left")

        yield advance

    def says(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)
