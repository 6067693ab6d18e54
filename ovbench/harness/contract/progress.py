"""What takes minutes says so, to whoever watches.

A method wraps its long work: ``with progress("support pictures", total=320) as advance:`` and
calls ``advance(8)`` as it goes on. Unless somebody watches, which on the command line is a bar
or a log on stderr, that costs one global look-up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TypeAlias

Advance: TypeAlias = Callable[[float], None]
"""Called with how much more is done; parts of one count too."""


class Watcher(Protocol):
    """Shows how work goes on."""

    def watch(self, title: str, total: float | None) -> AbstractContextManager[Advance]:
        """The work of this context has begun; see :func:`progress`."""
        ...

    def says(self, line: str) -> None:
        """See :func:`say`."""
        ...


_watcher: Watcher | None = None


@contextmanager
def watching(watcher: Watcher) -> Iterator[None]:
    """Show this watcher what happens in this context; another one has its turn again behind it."""
    global _watcher  # noqa: PLW0603 - one watcher at a time is the point
    outer, _watcher = _watcher, watcher
    try:
        yield
    finally:
        _watcher = outer


@contextmanager
def progress(title: str, total: float | None) -> Iterator[Advance]:
    """Work that takes long.

    Args:
        title: what is done or made, such as ``"support pictures"``.
        total: how many of it; None where nobody knows.
    """
    if _watcher is None:
        yield lambda _done: None
        return
    with _watcher.watch(title, total) as advance:
        yield advance


def say(line: str) -> None:
    """Tell a watcher what it should know before it waits: what is made, how long, for whom."""
    if _watcher is not None:
        _watcher.says(line)
