"""Numbers as people read them."""

from __future__ import annotations

from ovbench.leaderboards.tables.sheet import number


def percent(value: float | None) -> str:
    """Two decimals, as the field's tables have them; a dash where undefined."""
    return number(value, ".2f")


def seconds(value: float | None) -> str:
    """Three significant digits; a dash where undefined."""
    return number(value, ".3g")


def mebibytes(value: int | None) -> str:
    """Whole MiB; a dash where undefined."""
    return number(None if value is None else value / 2**20, ".0f")
