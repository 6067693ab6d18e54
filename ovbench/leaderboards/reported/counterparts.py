"""Which reported figure a measurement is to be held against, if there is one.

``data/counterparts.csv`` says which settings of which method stand behind which rows of the
sources' tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ovbench.leaderboards.reported.benchmarks import Benchmark, benchmarks
from ovbench.leaderboards.reported.data import rows
from ovbench.leaderboards.reported.evidence import repeated
from ovbench.leaderboards.reported.published import Figure, cite, figures

Result = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of a source's table and how to measure it.

    Attributes:
        method: as registered.
        presets: those that give the row; "default" is none.
        settings: resolved settings that the row needs, ``name=value`` and blanks between them;
            no other setting may differ from the preset. The preset "published" has the class
            names of the benchmark at hand, too.
        classes: as ``--classes``.
        source, table, system, backbone, variant, setting: of the row, as in the figures.
        background: the rule of the code behind the figures where it is not the one that the
            column's title says; else empty.
        definition: of mIoU, a name of
            :data:`~ovbench.harness.metrics.definitions.MIOU_DEFINITIONS`;
            behind it, ``dataset=name`` where the code scores a dataset by another one, with
            blanks between them.
        tolerance: in mIoU, for a row whose every condition is known; empty is the usual one.
    """

    method: str
    presets: str
    settings: str
    classes: str
    source: str
    table: str
    system: str
    backbone: str
    variant: str
    setting: str
    background: str
    definition: str
    tolerance: str

    def needs(self) -> dict[str, str]:
        """The settings it needs, as text."""
        return dict(assignment.split("=", 1) for assignment in self.settings.split())

    def definition_on(self, dataset: str) -> str:
        """The definition of mIoU behind the row's figure on a dataset."""
        usual, *others = self.definition.split()
        return dict(other.split("=", 1) for other in others).get(dataset, usual)

    def figures(self) -> Sequence[Figure]:
        """The row's figures of mIoU."""
        wanted = (self.source, self.table, self.system, self.backbone, self.variant, self.setting)
        return [
            f
            for f in figures()
            if (f.source, f.table, f.method, f.backbone, f.variant, f.setting) == wanted
            and f.metric == "mIoU"
        ]


@dataclass(frozen=True, slots=True)
class Counterpart:
    """A reported figure and what was measured under its definition, in percent.

    Attributes:
        tolerance: in mIoU, of the figure's row; None is the usual one.
    """

    figure: Figure
    definition: str
    measured: float
    tolerance: float | None = None

    @property
    def delta(self) -> float:
        """Measured minus reported."""
        return self.measured - self.figure.value


@cache
def rules() -> Sequence[Rule]:
    """All rows that can be measured."""
    return tuple(Rule(**row) for row in rows("counterparts"))


def counterpart(result: Result) -> Counterpart | str:
    """The reported figure for a result, or the reason why there is none, in words."""
    if reason := _unlike_any_paper(result):
        return reason
    run = result["run"]
    of_method = [rule for rule in rules() if rule.method == run["method"]]
    if not of_method:
        return f"no figure of {run['method']} is in the papers here"
    of_settings = [rule for rule in of_method if _fits(rule, result)]
    if not of_settings:
        return f"no figure was reported for {_setup(run)}"
    for rule in of_settings:
        definition = rule.definition_on(run["dataset"])
        measured = result["metrics"]["definitions"].get(definition)
        for figure in rule.figures():
            if measured is not None and _same_benchmark(rule, figure, run):
                tolerance = float(rule.tolerance) if rule.tolerance else None
                return Counterpart(figure, definition, measured, tolerance)
    return f"{cite(of_settings[0].figures()[0])}, has no such benchmark"


def reported_on(run: Mapping[str, Any]) -> Sequence[Figure]:
    """Every mIoU that is printed for a run's benchmark, the highest first; repeats left out."""
    printed = {b.printed for b in benchmarks().values() if _matches(b, run, b.background)}
    on = [f for f in figures() if f.dataset in printed and f.metric == "mIoU"]
    return sorted((f for f in on if f not in repeated()), key=lambda figure: -figure.value)


def _fits(rule: Rule, result: Result) -> bool:
    run, config, needs = result["run"], result["config"], rule.needs()
    return (
        (run["preset"] or "default") in rule.presets.split()
        and run["classes"] == rule.classes
        and all(str(config.get(name)) == value for name, value in needs.items())
        and set(run["changes"]) <= set(needs)
    )


def _unlike_any_paper(result: Result) -> str | None:
    """Why a result cannot be held against whatever figure, in words."""
    run, published = result["run"], result.get("published")
    if run["checkpoints"] == "toy":
        return "miniature weights; papers report the real ones"
    if run["limit"] is not None or not run["complete"]:
        return "only part of the images"
    if published and (published["names"] or "plain") not in result["vocabulary"]["known_as"]:
        return "with other class names than those it was published with"
    return None


def _same_benchmark(rule: Rule, figure: Figure, run: Mapping[str, Any]) -> bool:
    benchmark = benchmarks()[figure.dataset]
    settled = not rule.background or benchmark.background == "none"
    return _matches(benchmark, run, benchmark.background if settled else rule.background)


def _matches(benchmark: Benchmark, run: Mapping[str, Any], background: str) -> bool:
    if benchmark.outside:
        return False
    subset = (run["subset"] or "").removesuffix("-only")  # papers do not say which reading
    return (run["dataset"], run["split"], run["background"], subset) == (
        benchmark.dataset,
        benchmark.split,
        background,
        benchmark.subset,
    )


def _setup(run: Mapping[str, Any]) -> str:
    changes = ", ".join(f"{name}={value}" for name, value in run["changes"].items())
    parts = [f"preset {run['preset'] or 'default'}", *([changes] if changes else [])]
    return f"{', '.join(parts)} and --classes {run['classes']}"
