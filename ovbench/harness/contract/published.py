"""The settings that a method was published with, benchmark by benchmark.

Papers tune the input's size, scales, thresholds and class names per benchmark. A method says so in
a table, and ``--preset published`` takes the row of the benchmark at hand: the method itself sees
no benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a list of methods does without what datasets import
    from ovbench.harness.contract.datasets import BackgroundRule

PUBLISHED = "published"
"""The preset that takes the row of the benchmark at hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One row: the values of one benchmark under one background rule.

    A method's class holds its rows as ``published: ClassVar[Sequence[Published]]``.

    Attributes:
        dataset: as registered, such as ``"voc"``; no alias.
        background: the rule the values are for.
        settings: those that are not the method's defaults; empty where all are.
        names: the set of class names of that benchmark, texts for the background included, or
            None where the benchmark's own are meant.
        source: where the values are printed, such as ``"released code, configs/cfg_voc21.py"``.
    """

    dataset: str
    background: BackgroundRule
    settings: Mapping[str, Any]
    names: str | None = None
    source: str

    @property
    def benchmark(self) -> str:
        """In words, such as ``"voc (background ignore)"``."""
        return benchmark_words(self.dataset, self.background)


def benchmark_words(dataset: str, background: BackgroundRule) -> str:
    """A benchmark with its background rule, where it has a choice of them."""
    return dataset if background == "none" else f"{dataset} (background {background})"
