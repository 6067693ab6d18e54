"""A text file that grows by whole lines, however its writer ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from ovbench.errors import OvbenchError


class LineWriter:
    """Appends lines, one ``write`` per call, so a line is whole or last.

    Raises:
        OvbenchError: another process is writing the same file.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        if not _lock(self._file):
            os.close(self._file)
            raise OvbenchError(f"{path}: another process is writing here; wait for it")
        _drop_torn_line(self._file)

    def write(self, lines: str) -> None:
        """Append whole lines."""
        data = lines.encode()
        while data:
            data = data[os.write(self._file, data) :]

    def sync(self) -> None:
        """Wait until what was written outlives a power cut."""
        os.fsync(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)


def whole_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers from 1; a torn last one is left out."""
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    yield from enumerate(whole.decode().split("\n")[:-1], start=1)


def _drop_torn_line(file: int) -> None:
    size = os.fstat(file).st_size
    kept, block = size, 1 << 16
    while kept > 0:
        start = max(0, kept - block)
        os.lseek(file, start, os.SEEK_SET)
        newline = os.read(file, kept - start).rfind(b"\n")
        if newline >= 0:
            kept = start + newline + 1
            break
        kept = start
    if kept < size:
        os.ftruncate(file, kept)


def _lock(file: int) -> bool:
    """Take an exclusive lock that the system releases when the process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows: no second process is expected there
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
