"""A preparation's progress on stderr."""

from __future__ import annotations

import sys
from typing import Self

from rich.progress import Progress, TaskID

from ovbench.cli.progress_bar import progress_bar


class PrepareProgress:
    """Lines, and a bar while an archive is unpacked; a download draws its own."""

    def __init__(self) -> None:
        self._bar: tuple[Progress, TaskID] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar[0].stop()

    def says(self, line: str) -> None:
        """See :class:`ovbench.datasets.prepare.Observer`."""
        print(line, file=sys.stderr)

    def unpacking(self, archive: str, done: int, total: int) -> None:
        """See :class:`ovbench.datasets.prepare.Observer`."""
        if self._bar is None:
            progress = progress_bar()
            progress.start()
            self._bar = progress, progress.add_task(f"unpack {archive}", total=total, note="")
        progress, task = self._bar
        progress.update(task, completed=done)
        if done == total:
            progress.stop()
            self._bar = None
