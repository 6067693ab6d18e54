"""Numbers as people read them; a dash where undefined."""

from __future__ import annotations


def percent(value: float | None) -> str:
    """Two decimals, as the field's tables have them."""
    return number(value, ".2f")


def seconds(value: float | None) -> str:
    """Three significant digits."""
    return number(value, ".3g")


def mebibytes(value: int | None) -> str:
    """Whole MiB."""
    return "–" if value is None else f"{value / 2**20:.0f}"


def number(value: float | None, style: str) -> str:
    """By a format specification."""
    return "–" if value is None else format(value, style)
