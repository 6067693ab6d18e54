"""Files that many processes make and read at once: each made by one, seen by all as a whole.

Machines that share the folder share the files too.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from ovbench.errors import OvbenchError, UsageError
from ovbench.harness.contract.progress import say
from ovbench.harness.files.atomic import replacing

_POLL_S = 0.2


class UnwritableError(UsageError):
    """A shared folder has no room or must not be written."""


def write(path: Path, data: bytes) -> None:
    """Put a file in its place, whole or not at all; only by who is alone with it.

    Raises:
        UnwritableError: there is no room for it, or it must not be written.
    """
    try:
        # After a power cut its reader finds the damage.
        with replacing(path, durable=False) as temporary:
            temporary.write_bytes(data)
    except OvbenchError as error:
        raise _unwritable(path, error.__cause__) from None


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Be the one process that makes a path in this context, unless another one is at it.

    Folders above the path are made. A process that dies has claimed nothing any more.

    Yields:
        Whether this process is the one.

    Raises:
        UnwritableError: the folder cannot be written to.
    """
    lock = _lock(path)
    try:
        yield _acquire(lock, path)
    finally:
        lock.release()


@contextmanager
def alone(path: Path, doing: str) -> Iterator[None]:
    """Be the one process that makes a path in this context; wait while another one is at it.

    Args:
        doing: for those who wait, such as ``"making the prototypes"``.

    Raises:
        UnwritableError: the folder cannot be written to.
    """
    lock = _lock(path)
    try:
        if not _acquire(lock, path):
            say(f"waiting for another process that is {doing} (it holds {lock.lock_file})")
            lock.acquire(poll_interval=_POLL_S)
        yield
    finally:
        lock.release()


def sweep(folder: Path, name: str = "*") -> None:
    """Remove what killed processes left of files that never got their names."""
    for left in folder.glob(f".{name}.*"):
        left.unlink(missing_ok=True)


def array_bytes(array: npt.NDArray[Any]) -> bytes:
    """An array as an ``.npy`` file."""
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def array_of(data: bytes) -> npt.NDArray[Any]:
    """The array in an ``.npy`` file."""
    array: npt.NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    return array


def _lock(path: Path) -> FileLock:
    # The group may write, so that a team can share a folder.
    return FileLock(f"{path}.lock", mode=0o664)


def _acquire(lock: FileLock, path: Path) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        return False
    except OSError as error:
        raise _unwritable(path, error) from None
    return True


def _unwritable(path: Path, error: BaseException | None) -> UnwritableError:
    reason = getattr(error, "strerror", None) or error
    return UnwritableError(
        f"{path.parent}: cannot be written to ({reason}); make room there, or set OVBENCH_CACHE "
        "to another folder"
    )
