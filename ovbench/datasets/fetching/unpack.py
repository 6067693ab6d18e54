"""Unpacks archives from the network: nothing outside the folder, nothing overwritten.

What carries a checksum is held to it: a compressed tar archive before its first file is written,
each file of a zip archive before it gets its name. A plain tar archive has none.
"""

from __future__ import annotations

import errno
import lzma
import re
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

from ovbench.errors import UsageError
from ovbench.harness.files.atomic import replacing
from ovbench.harness.files.below import leads_outside
from ovbench.harness.files.regular import regular

Progress: TypeAlias = Callable[[int, int], object]
"""Called with the number of files done and the number of all."""

HOME = ".ovbench"
"""The folder below a root in which preparations keep their notes; no archive may write there."""

# What the readers raise when they meet bytes that they do not expect.
_BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError),
    *(OSError, RuntimeError, ValueError, ArithmeticError, LookupError, MemoryError),
)

# Of a zip archive's end: bytes with the longest comment, and a count that is said elsewhere.
_ZIP_END, _IN_ZIP64 = 22 + (1 << 16), (1 << 16) - 1


class BrokenArchiveError(UsageError):
    """An archive is not whole; fetching it again may mend that."""


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in an archive.

    Attributes:
        name: its path, with slashes.
        size: bytes, unpacked.
        open: its content.
    """

    name: str
    size: int
    open: Callable[[], AbstractContextManager[IO[bytes]]]


def unpack(
    archive: Path,
    folder: Path,
    *,
    only: Sequence[str] = (),
    progress: Progress | None = None,
) -> Counter[str]:
    """Unpack a .zip or .tar archive, compressed or not; any other file is put there as it is.

    A file that is there with its size stays, so an unpacking that was cut short goes on. Links
    and devices have no place in these archives and are refused before anything is written.

    Args:
        folder: is made if it is not there.
        only: beginnings of the names to take; all if there are none.

    Returns:
        The folders that were filled, below ``folder``, with the number of files in each.

    Raises:
        BrokenArchiveError: the archive is not whole.
        UsageError: a member would lie outside the folder or is not a plain file, or a file of
            another size is in its place.
        OvbenchError: there is no room for it.
    """
    with _members(archive) as members:
        chosen = [m for m in members if not only or m.name.startswith(tuple(only))]
        if not chosen:
            raise UsageError(f"{archive}: holds nothing of {', '.join(only) or 'use'}")
        targets = [_target(archive, folder, member) for member in chosen]
        place, times = Counter(targets).most_common(1)[0]
        if times > 1:
            raise BrokenArchiveError(f"{archive}: holds {place.relative_to(folder)} more than once")
        for done, (member, target) in enumerate(zip(chosen, targets, strict=True), start=1):
            _place(archive, member, target)
            if progress:
                progress(done, len(chosen))
    return Counter(target.parent.relative_to(folder).as_posix() for target in targets)


def unpacked_bytes(archive: Path, only: Sequence[str] = ()) -> int:
    """The size of what :func:`unpack` would write.

    Raises:
        BrokenArchiveError: the archive is not whole.
        UsageError: it holds links or devices.
    """
    with _members(archive) as members:
        return sum(m.size for m in members if not only or m.name.startswith(tuple(only)))


@contextmanager
def _members(archive: Path) -> Iterator[list[Member]]:
    """The plain files of an archive; whatever is wrong with it becomes a UsageError."""
    try:
        regular(archive)
    except OSError as error:
        raise UsageError(f"{archive}: cannot be read ({error.strerror})") from None
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                _check_count(archive, len(file.infolist()))
                listed = [info for info in file.infolist() if not _is_folder(info)]
                yield [_zip_member(archive, file, info) for info in listed]
        elif ".tar" in archive.suffixes:
            with tarfile.open(archive, tarinfo=_Header) as file:
                infos = [info for info in _whole(file) if not info.isdir()]
                yield [_tar_member(archive, file, info) for info in infos]
        elif archive.suffix == ".zip":
            raise zipfile.BadZipFile("not a zip file, or its end is missing")
        else:
            yield [
                Member(archive.name, archive.stat().st_size, lambda: regular(archive).open("rb"))
            ]
    except _BROKEN as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        # The readers' own errors have no number; those of the system say nothing of the archive.
        number = error.errno if isinstance(error, OSError) else None
        kind = BrokenArchiveError if number in (None, errno.EINVAL) else UsageError
        raise kind(f"{archive}: cannot be unpacked ({reason})") from None


class _Header(tarfile.TarInfo):
    """A header that has to be one: ``tarfile`` takes a damaged one for the archive's end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        """See :class:`tarfile.TarInfo`."""
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf == bytes(tarfile.BLOCKSIZE):  # the end
                raise
            reason = str(error) if buf else "its end is missing"
            raise tarfile.ReadError(reason) from None


def _whole(file: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """What a tar archive holds, once it was read to its end, a compressed one's checksum included.

    Raises:
        tarfile.ReadError, OSError, EOFError: it is not whole.
    """
    found: list[tarfile.TarInfo] = []
    for info in file:
        if found and info.offset <= found[-1].offset:  # a negative size leads back
            raise tarfile.ReadError(f"{found[-1].name!r} states a wrong size")
        found.append(info)
    stream = file.fileobj
    assert stream is not None
    while stream.read(1 << 20):
        pass
    return found


def _check_count(archive: Path, found: int) -> None:
    """``zipfile`` reads past a damaged entry of a zip archive's list and says nothing.

    Raises:
        zipfile.BadZipFile: its end states another number of files than were found.
    """
    with regular(archive).open("rb") as file:
        file.seek(max(0, archive.stat().st_size - _ZIP_END))
        tail = file.read()
    stated = int.from_bytes(tail[(end := tail.rfind(b"PK\5\6")) + 10 : end + 12], "little")
    if stated not in (found % (1 << 16), _IN_ZIP64):
        raise zipfile.BadZipFile(f"{found} files are listed, not {stated}")


def _is_folder(info: zipfile.ZipInfo) -> bool:
    if info.is_dir() and info.file_size:
        raise zipfile.BadZipFile(f"{info.filename!r} is a folder with content")
    return info.is_dir()


def _zip_member(archive: Path, file: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    kind = info.external_attr >> 28  # the file type of a Unix mode; 0 where there is none
    if kind not in (0, 8):
        raise UsageError(f"{archive}: {info.filename!r} is not a plain file; it is not unpacked")
    return Member(info.filename, info.file_size, lambda: file.open(info))


def _tar_member(archive: Path, file: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    if not info.isreg():
        raise UsageError(f"{archive}: {info.name!r} is not a plain file; it is not unpacked")

    @contextmanager
    def content() -> Iterator[IO[bytes]]:
        stream = file.extractfile(info)
        assert stream is not None  # a regular file has content
        with stream:
            yield stream

    return Member(info.name, info.size, content)


def _target(archive: Path, folder: Path, member: Member) -> Path:
    """Where a member goes."""
    parts = [part for part in member.name.split("/") if part not in ("", ".")]
    # What Windows takes for separators has no place in these archives, either.
    unsafe = leads_outside(member.name) or not parts or re.search(r"[\\:]", member.name)
    if unsafe or any(part.casefold() == HOME for part in parts):
        raise UsageError(f"{archive}: {member.name!r} would lie elsewhere; it is not unpacked")
    target = folder.joinpath(*parts)
    if not target.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{archive}: a link in {folder} would take {member.name!r} elsewhere")
    if target.exists() and (not target.is_file() or target.stat().st_size != member.size):
        raise UsageError(f"{target}: is not the file in {archive.name}; move it away")
    return target


def _place(archive: Path, member: Member, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with member.open() as source, replacing(target, durable=False) as temporary:
        with temporary.open("wb") as out:
            shutil.copyfileobj(_Limited(source, member.size), out, 1 << 20)
        if temporary.stat().st_size != member.size:
            raise BrokenArchiveError(f"{archive}: {member.name!r} has not the size it states")


class _Limited:
    """Reads at most one byte more than a member states, whatever it unpacks to."""

    def __init__(self, source: IO[bytes], size: int) -> None:
        self._source, self._left = source, size + 1

    def read(self, size: int = -1, /) -> bytes:
        try:
            piece = self._source.read(self._left if size < 0 else min(size, self._left))
        except OSError as error:  # not of what is written
            raise EOFError(str(error)) from None
        self._left -= len(piece)
        return piece
