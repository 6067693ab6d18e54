"""What the cache holds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovbench.support.cache import cache_home
from ovbench.support.shelf import HOME, NOTE


@dataclass(frozen=True, slots=True)
class Stored:
    """Something in the cache; deleting its path costs no more than the time to make it again.

    Attributes:
        kind: ``"support"`` for pictures, else the kind under which arrays are remembered.
        pictures: how many of a support set, else None.
        key: everything that decides them, for a support set; else None.
        bytes: of its files.
    """

    path: Path
    kind: str
    pictures: int | None
    key: Mapping[str, Any] | None
    bytes: int


def stored() -> Iterator[Stored]:
    """Support sets one by one, then each kind of remembered arrays as a whole."""
    home = cache_home()
    for note in sorted((home / HOME).glob(f"*/{NOTE}")):
        with suppress(OSError, ValueError, KeyError):
            content = json.loads(note.read_text(encoding="utf-8"))
            size = _size(note.parent)
            yield Stored(note.parent, HOME, len(content["pictures"]), content["key"], size)
    for folder in sorted(home.glob("*/")):
        if folder.name != HOME:
            yield Stored(folder, folder.name, None, None, _size(folder))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
