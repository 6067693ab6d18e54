"""Fields of annotation files, which strangers write: of the right type, or a ValueError."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from ovbench.harness.files.images import MAX_PIXELS

MAX_SIDE = (1 << 16) - 1
"""Pixels along an image's side; JPEG files have no more."""


def field(entry: Any, key: str) -> Any:
    """What stands under a key.

    Raises:
        ValueError: nothing does; says so in a few words, as all of these do.
    """
    if not isinstance(entry, dict):
        raise ValueError(f"{key!r} is missing: {_brief(entry)} is no object")
    if key not in entry:
        raise ValueError(f"{key!r} is missing")
    return entry[key]


def entries(content: Any, key: str) -> list[Any]:
    """The list under a key.

    Raises:
        ValueError: missing, or anything else.
    """
    found = field(content, key)
    if not isinstance(found, list):
        raise ValueError(f"{key!r} is no list")
    return found


def integer(entry: Any, key: str, *, least: int = 0, most: int = 1 << 62) -> int:
    """A whole number within bounds."""
    found = field(entry, key)
    if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= most:
        raise ValueError(f"{key!r} is {_brief(found)}, no whole number from {least} to {most}")
    return found


def known_id(entry: Any) -> int | None:
    """What a file calls an entry, for messages."""
    found = entry.get("id") if isinstance(entry, dict) else None
    return found if isinstance(found, int) and abs(found) < 1 << 62 else None


def number(entry: Any, key: str) -> float:
    """A number of pixels, or of parts of them."""
    found = field(entry, key)
    if not isinstance(found, int | float) or not 0 <= found <= MAX_SIDE**2:
        raise ValueError(f"{key!r} is {_brief(found)}, no number of pixels")
    return float(found)


def text(entry: Any, key: str) -> str:
    """A text."""
    found = field(entry, key)
    if not isinstance(found, str):
        raise ValueError(f"{key!r} is {_brief(found)}, no text")
    return found


def size(entry: Any) -> tuple[int, int]:
    """The height and width of an image, in pixels."""
    height = integer(entry, "height", least=1, most=MAX_SIDE)
    width = integer(entry, "width", least=1, most=MAX_SIDE)
    if height * width > MAX_PIXELS:
        raise ValueError(f"{width}x{height} pixels; images of up to {MAX_PIXELS:,} pixels are read")
    return height, width


def each_once(names: Collection[str]) -> None:
    """Images are told apart by their names.

    Raises:
        ValueError: two have one.
    """
    if len(set(names)) < len(names):
        raise ValueError(f"two images are called {Counter(names).most_common(1)[0][0][:80]!r}")


def _brief(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, int) and abs(value) > 1 << 62:
        return "a huge number"
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}…"
