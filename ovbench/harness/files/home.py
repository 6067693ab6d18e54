"""Paths that begin with somebody's home."""

from __future__ import annotations

from pathlib import Path

from ovbench.errors import UsageError


def at_home(path: Path | str) -> Path:
    """A path with ``~`` or ``~user`` before it written out.

    Raises:
        UsageError: nobody of that name has a home here.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UsageError(f"{path}: no home is known here of whom its first part names") from None
