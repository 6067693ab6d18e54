"""Whole numbers that somebody wrote."""

from __future__ import annotations


def whole_number(text: str) -> int | None:
    """The number that the digits 0 to 9 spell; None for any other text.

    So it is for thousands of digits, which Python refuses to read.
    """
    try:
        return int(text) if text.isascii() and text.isdigit() else None
    except ValueError:
        return None
