"""A preparation's progress on stderr."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Self

from ovbench.cli.progress.working import counted
from ovbench.cli.shared.console import tell


class PrepareProgress:
    """What is told, and how far an archive is unpacked."""

    def __init__(self) -> None:
        self._shown = ExitStack()
        self._done: Callable[[int], None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.close()

    def says(self, line: str) -> None:
        """See :class:`ovbench.datasets.fetching.prepare.Observer`."""
        tell(line)

    def unpacking(self, archive: str, done: int, total: int) -> None:
        """See :class:`ovbench.datasets.fetching.prepare.Observer`."""
        if self._done is None:
            self._done = self._shown.enter_context(counted(f"unpack {archive}", total))
        self._done(done)
        if done == total:
            self._shown.close()
            self._done = None
