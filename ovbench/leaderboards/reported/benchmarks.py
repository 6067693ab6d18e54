"""What the columns of the sources' tables are about: ``data/benchmarks.csv``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from ovbench.leaderboards.reported.data import rows


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A column.

    Attributes:
        printed: its name.
        dataset: as registered here, of what it shows; empty where there is nothing like it.
        split, background, subset: as a run has them; a subset may be empty.
        outside: why no run here is measured on it, else empty; then there are no split,
            background and subset.
    """

    printed: str
    dataset: str
    split: str
    background: str
    subset: str
    outside: str

    def __post_init__(self) -> None:
        measured = all((self.dataset, self.split, self.background))
        if measured == bool(self.outside):
            raise ValueError(f"{self}: either a benchmark here, or why it is outside")


@cache
def benchmarks() -> Mapping[str, Benchmark]:
    """By their printed names, in the order in which they are shown.

    Raises:
        ValueError: one says neither what it is here nor why it is outside, or says both.
    """
    return {row["printed"]: Benchmark(**row) for row in rows("benchmarks")}
