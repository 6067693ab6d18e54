"""The long work of a command, such as what a method prepares, shown on stderr."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ovbench.cli.progress.pace import LOG_EVERY_S, Pace
from ovbench.cli.shared.console import bars_fit, tell
from ovbench.harness.contract.progress import Advance, progress, watching

if TYPE_CHECKING:
    from rich.progress import Progress


def speaks() -> bool:
    """Whether this process tells how it goes on: of several that share a run, the first does."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def work_shown(on_screen: Progress | None = None) -> Iterator[None]:
    """Show what says that it takes long: a bar on a terminal, a line now and then in a log.

    Args:
        on_screen: bars that are drawn already; the new ones come below them.
    """
    if not speaks():
        yield
        return
    with watching(_Bars(on_screen) if bars_fit() else _Lines()):
        yield


@contextmanager
def notes_shown() -> Iterator[None]:
    """Show what must be known, and no progress."""
    with watching(_Notes()):
        yield


@contextmanager
def counted(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Work that tells how much of it is done by now, rather than how much more."""
    before = 0
    with progress(title, total) as advance:

        def done(count: int) -> None:
            nonlocal before
            advance(count - before)
            before = count

        yield done


class _Bars:
    """Bars while there is work, and nothing else of the screen."""

    def __init__(self, on_screen: Progress | None) -> None:
        self._on_screen = on_screen

    @contextmanager
    def watch(self, title: str, total: float | None) -> Iterator[Advance]:
        from ovbench.cli.progress.bar import progress_bar

        if self._on_screen is None:
            try:
                with progress_bar() as self._on_screen, self.watch(title, total) as advance:
                    yield advance
            finally:
                self._on_screen = None
            return
        shown = self._on_screen
        task = shown.add_task(title, total=total, note="")
        yield lambda done: shown.advance(task, done)
        if total is None:  # the bar has moved to and fro until now
            shown.update(task, total=1, completed=1)

    def says(self, line: str) -> None:
        if self._on_screen is None:
            tell(line)
        else:
            self._on_screen.console.print(line, soft_wrap=True)


class _Notes:
    @contextmanager
    def watch(self, title: str, total: float | None) -> Iterator[Advance]:
        yield lambda _done: None

    def says(self, line: str) -> None:
        tell(line)


class _Lines(_Notes):
    @contextmanager
    def watch(self, title: str, total: float | None) -> Iterator[Advance]:
        self.says(f"{title}: {total:.0f} to do" if total else title)
        pace = Pace(total or 0, LOG_EVERY_S)

        def advance(done: float) -> None:
            if pace.advance(done):
                rest = f"/{pace.total:.0f}, {pace.left_s:.0f} s left" if total else ""
                self.says(f"{title}: {pace.done:.0f}{rest}")

        yield advance
