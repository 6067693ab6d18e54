"""What is reported: figures of papers, READMEs and threads, with who is measured and by whom.

The figures lie in ``data/figures.csv`` as their sources print them. They are read and checked at
once: a figure of an unknown source, system, benchmark, metric or condition, one that is out of
range, or one that is given twice is an error of the package.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, cast, get_args

from ovbench.leaderboards.reported.benchmarks import benchmarks
from ovbench.leaderboards.reported.data import rows

Kind = Literal["paper", "picture", "readme", "thread", "listing"]
KINDS: Mapping[Kind, str] = {
    "paper": "tables of the paper",
    "picture": "a picture of a table, read by eye",
    "readme": "the README of the code",
    "thread": "a thread among the code's users",
    "listing": "a copy of a public listing, unchecked",
}
PERCENT = frozenset(
    ("mIoU", "pixel accuracy", "mean accuracy", "fwIoU", "J", "F", "top-1", "mask AP")
)
RATES = frozenset(("images/s",))
ONE_CLASS = "IoU of "
"""Before the name of a class."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where figures are printed.

    Attributes:
        title, authors, venue: of the paper behind it; of a thread, its name, who wrote it, where.
        arxiv: the paper's number, where it is known here.
        link: where the figures can be looked up; empty for what its title finds.
        systems: whose authors speak here.
    """

    key: str
    title: str
    authors: str
    venue: str
    arxiv: str
    kind: Kind
    link: str
    systems: tuple[str, ...]

    @property
    def name(self) -> str:
        """As it is cited."""
        return f"{self.authors}, {self.venue}"


@dataclass(frozen=True, slots=True)
class System:
    """A system that is measured in one of them.

    Attributes:
        venue: of the system's own paper.
        note: what a reader must know of its figures; may be empty.
    """

    name: str
    authors: str
    venue: str
    note: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A condition under which a figure was measured, in a word or two and in a sentence."""

    name: str
    short: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of one table.

    Attributes:
        source: key of the source that prints it.
        table: such as "T3" or "README".
        method: name of the system.
        backbone: the encoder that knows text, where the source's other words do not say it.
        variant, setting: as the table says, such as weights and resolution.
        dataset, metric: as the table names them.
        value: percent, or images a second; ``std`` over seeds, or None.
        marks: names of conditions.
        note: what is inferred or unusual.
    """

    source: str
    table: str
    method: str
    backbone: str
    variant: str
    setting: str
    dataset: str
    metric: str
    value: float
    std: float | None
    marks: tuple[str, ...]
    note: str

    @property
    def details(self) -> Sequence[str]:
        """What tells the row from others of its system."""
        return [text for text in (self.backbone, self.variant, self.setting) if text]

    @property
    def printed(self) -> str:
        """The number as it is printed, with its deviation."""
        return f"{self.value}" + (f" ± {self.std}" if self.std is not None else "")


@cache
def sources() -> Mapping[str, Source]:
    """By key; of those that are nobody's own, the earlier is taken for the later's origin."""
    return {row["key"]: _source(row) for row in rows("sources")}


@cache
def systems() -> Mapping[str, System]:
    """By name, as the tables print it."""
    return {row["name"]: System(**row) for row in rows("systems")}


@cache
def marks() -> Mapping[str, Mark]:
    """By name, in the order in which they are shown."""
    return {row["name"]: Mark(**row) for row in rows("marks")}


@cache
def figures() -> Sequence[Figure]:
    """All of them, source by source.

    Raises:
        ValueError: the data are inconsistent; names the figure.
    """
    found = tuple(_figure(row) for row in rows("figures"))
    for figure in found:
        _check(figure)
    places = Counter(
        (f.source, f.table, f.method, f.backbone, f.variant, f.setting, f.dataset, f.metric)
        for f in found
    )
    place, times = places.most_common(1)[0]
    if times > 1:
        raise ValueError(f"{place}: given {times} times")
    return found


def cite(figure: Figure) -> str:
    """Where a figure is printed."""
    table = re.sub(r"^T(?=\d)", "table ", figure.table)
    return f"{sources()[figure.source].name}, {table}"


def _source(row: Mapping[str, str]) -> Source:
    kind = row["kind"]
    if kind not in get_args(Kind):
        raise ValueError(f"{row['key']}: unknown kind {kind}")
    spoken = tuple(name for name in row["systems"].split("; ") if name)
    rest = {name: text for name, text in row.items() if name not in ("kind", "systems")}
    return Source(kind=cast(Kind, kind), systems=spoken, **rest)


def _figure(row: Mapping[str, str]) -> Figure:
    value, std = float(row["value"]), float(row["std"]) if row["std"] else None
    rest = {name: text for name, text in row.items() if name not in ("value", "std", "marks")}
    return Figure(value=value, std=std, marks=tuple(row["marks"].split()), **rest)


def _check(figure: Figure) -> None:
    for what, name, known in (
        ("source", figure.source, sources()),
        ("system", figure.method, systems()),
        ("benchmark", figure.dataset, benchmarks()),
        *(("mark", mark, marks()) for mark in figure.marks),
    ):
        if name not in known:
            raise ValueError(f"{figure}: unknown {what} {name!r}")
    if figure.metric in RATES:
        if not 0 < figure.value < float("inf") or figure.std is not None:
            raise ValueError(f"{figure}: not a rate")
    elif figure.metric not in PERCENT and not figure.metric.startswith(ONE_CLASS):
        raise ValueError(f"{figure}: unknown metric")
    elif not 0 <= figure.value <= 100 or (figure.std is not None and not 0 <= figure.std <= 100):
        raise ValueError(f"{figure}: not a percentage")
    if not figure.table:
        raise ValueError(f"{figure}: the table is missing")
