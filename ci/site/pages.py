"""Pages of the site that lie outside ``docs/``, and what links between all of them become."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

LINK = re.compile(r"\[([^\[\]]+)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
"""A link in Markdown to a file: words, path, anchor."""


def pages_of(navigation: Any) -> Iterator[str]:
    """Every page that ``nav`` of ``mkdocs.yml`` names, however deep."""
    if isinstance(navigation, str):
        yield navigation
    else:
        for part in navigation.values() if isinstance(navigation, dict) else navigation:
            yield from pages_of(part)


def place_of(path: str) -> str:
    """Where a file of the repository stands among the site's sources."""
    return path.removeprefix("docs/")


def relinked(text: str, path: str, root: Path, sources: Container[str]) -> str:
    """Markdown whose links to files hold in the site, too.

    Args:
        path: the file in which the text stands, below ``root``.
        sources: what the site is made of.

    Returns:
        The text. A link to what is no part of the site is its words and the path in the repository.
    """
    here = PurePosixPath(path).parent

    def link(match: re.Match[str]) -> str:
        words, target, anchor = match[1], match[2], match[3] or ""
        found = os.path.normpath(here / target)
        if not (root / found).exists():
            return match[0]  # which the strict build complains of
        for place in (place_of(found), f"{place_of(found)}/README.md"):
            if place in sources:
                away = os.path.relpath(place, PurePosixPath(place_of(path)).parent)
                return f"[{words}]({away}{anchor})"
        return words if found.rstrip("/") in words else f"{words} (`{found}`)"

    return _outside_code(text, lambda prose: LINK.sub(link, prose))


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    parts = re.split(r"(^```.*?^```)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if n % 2 else change(part) for n, part in enumerate(parts))
