"""What a user may choose of a benchmark, refused in one line where there is no such choice."""

from __future__ import annotations

from collections.abc import Iterable

from ovbench.errors import UsageError
from ovbench.harness.protocol import BackgroundRule


def choose_split(benchmark: str, split: str | None, available: Iterable[str]) -> str:
    """The split asked for, by default "val".

    Raises:
        UsageError: the benchmark has no such split.
    """
    chosen = split or "val"
    if chosen not in (names := list(available)):
        raise UsageError(f"{benchmark} has no split {chosen!r}; it has {', '.join(names)}")
    return chosen


def choose_background(benchmark: str, rule: BackgroundRule | None) -> BackgroundRule:
    """The rule asked for, by default "class", of a benchmark that labels background.

    Raises:
        UsageError: another rule than "class" and "ignore".
    """
    chosen = rule or "class"
    if chosen not in ("class", "ignore"):
        raise UsageError(f"{benchmark} has a background: {chosen!r} is not 'class' or 'ignore'")
    return chosen
