"""Docstrings of this project say of several names at once what holds for each; Griffe reads one."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension

ENTRY = re.compile(r"^( +)((?:\w+, )+\w+): (.*(?:\n\1 +\S.*)*)", re.MULTILINE)
"""``a, b: what they are``, with the lines that go on below it."""


class Grouped(Extension):  # type: ignore[misc]  # which mypy does not follow
    """Gives each name of such an entry an entry of its own."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Called for everything that has been read."""
        if obj.docstring is not None:
            obj.docstring.value = ENTRY.sub(_split, obj.docstring.value)


def _split(match: re.Match[str]) -> str:
    indent, names, words = match.groups()
    return "\n".join(f"{indent}{name}: {words}" for name in names.split(", "))
