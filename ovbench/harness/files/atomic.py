"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from ovbench.errors import OvbenchError, UsageError

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.part")
# What the user's command has no part in: the same command goes on when it is mended.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def ready_folder(path: Path) -> None:
    """Make the folder of a file that long work will end with.

    Raises:
        UsageError: it cannot be made or written, or ``path`` is a folder itself.
    """
    try:
        if path.is_dir():
            raise UsageError(f"{path}: is a folder; name a file")
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        above = next(folder for folder in path.parents if os.path.lexists(folder))
        raise UsageError(f"{above}: is no folder, so nothing can be written in it") from None
    except OSError as error:
        raise unwritable(path, error) from None
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"{path.parent}: cannot be written")


def no_room(error: OSError) -> bool:
    """Whether it is the disk's, which the user's command has no part in."""
    return error.errno in _NO_ROOM


def unwritable(path: Path, error: OSError) -> OvbenchError:
    """The one line for a file that could not be written: a full disk is nobody's wrong usage."""
    reason = f"{path}: cannot be written ({error.strerror or error})"
    if no_room(error):
        return OvbenchError(f"{reason}; make room there, and the same command goes on")
    return UsageError(reason)


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Write to a neighbour that takes the place of ``path`` when the block ends well.

    A reader sees the old file or the new one, even after a power cut. What killed writers left
    in the folder is removed by the next process that writes there.

    Args:
        durable: False leaves the power cut out of the promise, for thousands of files that
            can be made again.

    Raises:
        OvbenchError: there is no room for the file.
        UsageError: it must not be written there, or has no valid name.
    """
    try:
        _sweep(path.parent)
        temporary, held = _temporary(path)
        try:
            yield temporary
            if durable:
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
            if held is not None:
                os.close(held)
    except OSError as error:
        if error.errno is None:  # not the system's: a picture that cannot be encoded
            raise
        raise unwritable(path, error) from error


def lock(file: int) -> bool:
    """Take an exclusive lock that the system releases when the process ends, however it ends.

    Returns:
        False where another process holds it. True also where there are no locks.
    """
    return _locked(file) is not False


def _locked(file: int) -> bool | None:
    """Whether the lock was taken; None where the system or the file system has none."""
    try:
        import fcntl
    except ImportError:  # Windows: no second process is expected there
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _temporary(path: Path) -> tuple[Path, int | None]:
    """A new neighbour of ``path``, and the open file whose lock says that its writer lives."""
    stem = path.name.encode(errors="ignore")[:200].decode(
        errors="ignore"
    )  # a name has room for 255 bytes
    while True:
        temporary = path.with_name(f".{stem}.{secrets.token_hex(4)}.part")
        held = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        locked = _locked(held)
        # Another process may have swept it before it was locked.
        if locked and temporary.exists():
            return temporary, held
        os.close(held)
        if locked is None:
            return temporary, None


@cache
def _sweep(folder: Path) -> None:
    """Remove what killed writers left; once per folder, as folders can hold many files."""
    with suppress(OSError):
        for name in os.listdir(folder):
            if _TEMPORARY.fullmatch(name):
                _remove_if_left(folder / name)


def _remove_if_left(temporary: Path) -> None:
    with suppress(OSError):
        file = os.open(temporary, os.O_RDWR)
        try:
            if _locked(file):
                temporary.unlink()
        finally:
            os.close(file)
