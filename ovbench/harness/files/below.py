"""Names from outside that become paths stay below the folder they belong to."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ovbench.errors import UsageError

_LONGEST = 100


def leads_outside(name: str) -> bool:
    """Whether a name that a file or a program gives may be a path that leaves its folder."""
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or not parts[0] or ":" in parts[0] or any(c < " " for c in name)


def below(folder: Path, name: str) -> Path:
    """Where a file is written that something else names.

    The folder itself may be a link, as to a larger disk; a link in it that leads out of it is
    not followed.

    Raises:
        UsageError: it would lie elsewhere.
    """
    path = folder / name
    home = Path(os.path.realpath(folder))
    if leads_outside(name) or not Path(os.path.realpath(path.parent)).is_relative_to(home):
        raise UsageError(f"{folder}: {name[:80]!r} would lie outside of it")
    return path


def file_name(text: str) -> str:
    """A word of any text, for the name of a file or a folder that has a digest besides."""
    return re.sub(r"[^\w.+-]+", "_", text, flags=re.ASCII)[:_LONGEST].lstrip(".") or "_"
