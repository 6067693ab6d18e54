"""A text file that grows by whole lines, however its writer ends.

A line is a JSON object whose last field, ``crc``, is the CRC-32 of the file's key and all that
stands before it in the line, so that no damaged, edited or foreign line is taken for what was
measured.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ovbench.errors import OvbenchError, UsageError
from ovbench.harness.files.atomic import lock, unwritable
from ovbench.harness.files.json_files import AS_ESCAPE, parse
from ovbench.harness.files.regular import regular

_CRC = b',"crc":"'


class LineWriter:
    """Appends lines, one ``write`` per call, so a line is whole or last.

    Raises:
        OvbenchError: another process is writing the same file, or there is no room for it.
        UsageError: it must not be written there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            if os.path.lexists(path):
                regular(path)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise unwritable(path, error) from None
        if not lock(self._file):
            os.close(self._file)
            raise OvbenchError(f"{path}: another process is writing here; wait for it")
        _drop_torn_line(self._file)

    def write(self, lines: bytes) -> None:
        """Append whole lines; what a full disk leaves of the last one is dropped later.

        Raises:
            OvbenchError: there is no room for them.
        """
        try:
            while lines:
                lines = lines[os.write(self._file, lines) :]
        except OSError as error:
            raise unwritable(self._path, error) from None

    def sync(self) -> None:
        """Wait until what was written outlives a power cut.

        Raises:
            OvbenchError: it does not.
        """
        try:
            os.fsync(self._file)
        except OSError as error:
            raise unwritable(self._path, error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)


def whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers from 1; a torn last one is left out.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with regular(path).open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    yield number, line[:-1]
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None


def line_at(path: Path, start: int) -> bytes:
    """The line that begins at a byte of a file, without its newline.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with regular(path).open("rb") as file:
            file.seek(start)
            return file.readline().rstrip(b"\n")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None


def with_checksum(content: Mapping[str, Any], key: bytes = b"") -> bytes:
    """An object that is not empty as a line, newline included.

    Args:
        key: of the file; a line of another one's has another checksum.

    Raises:
        ValueError: a number JSON does not have, such as not-a-number.
    """
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    body = text[:-1].encode(errors=AS_ESCAPE)
    return b'%b%b%08x"}\n' % (body, _CRC, _checksum(body, key))


def content_of(line: bytes, key: bytes = b"", *, required: bool = True) -> Any:
    """The JSON value of a line, without its checksum, which must be right where there is one.

    Args:
        key: that the line was written with.
        required: a line without a checksum is refused.

    Raises:
        ValueError: not as it was written, or not JSON.
    """
    body, found, rest = line.rstrip(b"\n").rpartition(_CRC)
    if found and rest != b'%08x"}' % _checksum(body, key):
        raise ValueError("not as it was written here, its checksum differs")
    if required and not found:
        raise ValueError("not a whole record, it has no checksum")
    return parse(body + b"}" if found else line)


def _checksum(body: bytes, key: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(key))


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
