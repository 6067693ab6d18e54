"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ovbench.errors import UsageError


def ready_folder(path: Path) -> None:
    """Make the folder of a file that long work will end with.

    Raises:
        UsageError: it cannot be made or written, or ``path`` is a folder itself.
    """
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path.parent}: cannot be made ({error.strerror})") from None
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"{path.parent}: cannot be written")


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Write to a neighbour that takes the place of ``path`` when the block ends well.

    A reader sees the old file or the new one, even after a power cut.

    Args:
        durable: False leaves the power cut out of the promise, for thousands of files that
            can be made again.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield temporary
        if durable:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
