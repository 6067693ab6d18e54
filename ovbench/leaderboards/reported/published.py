"""What papers report: every figure of four papers' tables, with who is measured and by whom.

The figures lie in ``data/figures.csv`` as the papers print them. They are read and checked at once:
a figure of an unknown paper or system, out of range or given twice is an error of the package.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Paper:
    """A paper whose tables are here."""

    key: str
    title: str
    authors: str
    venue: str


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
class Figure:
    """One number of one table.

    Attributes:
        paper: key of the paper that prints it.
        table: such as "T3".
        method: name of the system.
        variant, setting: as the table says, such as weights and resolution.
        dataset, metric: as the table names them.
        value: percent; ``std`` over seeds, or None.
        note: what is inferred or unusual.
    """

    paper: str
    table: str
    method: str
    variant: str
    setting: str
    dataset: str
    metric: str
    value: float
    std: float | None
    note: str


@cache
def papers() -> Mapping[str, Paper]:
    """By key."""
    return {row["key"]: Paper(**row) for row in rows("papers")}


@cache
def systems() -> Mapping[str, System]:
    """By name, as the tables print it."""
    return {row["name"]: System(**row) for row in rows("systems")}


@cache
def figures() -> Sequence[Figure]:
    """All of them, in the papers' order.

    Raises:
        ValueError: the data are inconsistent; names the figure.
    """
    found = tuple(_figure(row) for row in rows("figures"))
    for figure in found:
        _check(figure)
    places = Counter(
        (f.paper, f.table, f.method, f.variant, f.setting, f.dataset, f.metric) for f in found
    )
    place, times = places.most_common(1)[0]
    if times > 1:
        raise ValueError(f"{place}: given {times} times")
    return found


@cache
def conflicts() -> Mapping[tuple[str, str, str, str], str]:
    """Where papers print different figures for one system.

    Returns:
        By method, dataset, metric and setting: what each paper prints, in words.
    """
    printed: dict[tuple[str, str, str, str], dict[str, list[Figure]]]
    printed = defaultdict(lambda: defaultdict(list))
    for figure in figures():
        key = (figure.method, figure.dataset, figure.metric, figure.setting)
        printed[key][figure.paper].append(figure)
    found = {}
    for key, by_paper in printed.items():
        values = [{figure.value for figure in given} for given in by_paper.values()]
        if len(values) > 1 and not set.intersection(*values):
            words = [
                f"{papers()[paper].authors} {', '.join(str(f.value) for f in given)}"
                for paper, given in by_paper.items()
            ]
            found[key] = f"{key[0]} on {key[1]} is printed differently: {'; '.join(words)}"
    return found


def cite(figure: Figure) -> str:
    """Where a figure is printed."""
    paper = papers()[figure.paper]
    return f"{paper.authors}, {paper.venue}, table {figure.table.removeprefix('T')}"


def figure_notes(figure: Figure) -> Sequence[str]:
    """What a reader must know of a figure: of its system, of conflicts, of itself."""
    system = systems()[figure.method]
    conflict = conflicts().get((figure.method, figure.dataset, figure.metric, figure.setting))
    told = [f"{figure.method}: {system.note}"] if system.note else []
    return [*told, *([conflict] if conflict else []), *([figure.note] if figure.note else [])]


def _figure(row: Mapping[str, str]) -> Figure:
    value, std = float(row["value"]), float(row["std"]) if row["std"] else None
    rest = {name: text for name, text in row.items() if name not in ("value", "std")}
    return Figure(value=value, std=std, **rest)


def _check(figure: Figure) -> None:
    if figure.paper not in papers():
        raise ValueError(f"{figure}: unknown paper")
    if figure.method not in systems():
        raise ValueError(f"{figure}: unknown system")
    if not 0 <= figure.value <= 100 or (figure.std is not None and not 0 <= figure.std <= 100):
        raise ValueError(f"{figure}: not a percentage")
    if not (figure.table and figure.dataset and figure.metric):
        raise ValueError(f"{figure}: table, dataset or metric is missing")


def rows(name: str) -> Sequence[dict[str, str]]:
    """A table of the package's data, as text."""
    text = (files("ovbench.leaderboards") / "data" / f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
