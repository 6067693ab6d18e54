"""User text as text: what a terminal or a reader's eye would obey is shown instead."""

from __future__ import annotations

import unicodedata

# Joiners change how letters of Persian and of emoji are drawn, and nothing around them.
_JOINERS = "\u200c\u200d"


def visible(text: str) -> str:
    """Text in which nothing acts: line breaks, escape sequences and marks of direction are shown.

    Control characters, format characters such as those that turn the direction of writing, and
    halves of surrogate pairs become ``\\n``, ``\\x1b``, ``\\u202e`` as Python writes them, and a
    byte of a file name that is not UTF-8 becomes ``\\xe9``. What is printable stays as it is.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    acts = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    if not acts or character in _JOINERS:
        return character
    if "\udc80" <= character <= "\udcff":  # how Python keeps such a byte
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
