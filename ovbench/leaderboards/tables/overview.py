"""All benchmarks side by side, as papers print them: a row per method, a column per benchmark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ovbench.leaderboards.tables.fields import METRICS, Field, View
from ovbench.leaderboards.tables.labels import labels
from ovbench.leaderboards.tables.numbers import percent
from ovbench.leaderboards.tables.sheet import DASH, Cell, Column, Sheet, places
from ovbench.leaderboards.tables.table import Conditions, Result, footnotes


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """What is measured, whatever the benchmark."""

    method: str
    classes: str
    class_filter: str
    checkpoints: str

    @classmethod
    def of(cls, label: str, result: Result) -> Line:
        conditions = Conditions.of(result)
        told = conditions.classes, conditions.class_filter, conditions.checkpoints
        return cls(label, *told)

    def words(self) -> str:
        """As the table names it."""
        told = {"oracle": ", class oracle", "predicted": f", classes by {self.class_filter}"}
        weights = ", toy weights" if self.checkpoints == "toy" else ""
        return self.method + told.get(self.classes, "") + weights


def overview(results: Sequence[Result], view: View) -> Sheet | None:
    """A sheet of all results, None where they are of fewer than two benchmarks.

    In each column only the runs under its most frequent conditions compete for the best place;
    a footnote says in what another one differs. A row that does not compete in every column has
    no average.
    """
    benchmarks = sorted({Conditions.of(result).benchmark for result in results})
    if len(benchmarks) < 2:
        return None
    named, field = labels(results), METRICS[view.metric]
    lined = [(Line.of(named[result["run"]["id"]], result), result) for result in results]
    lines = sorted({line for line, _ in lined})
    columns = [_column(benchmark, lines, lined, field) for benchmark in benchmarks]
    rows = list(
        zip([Cell(line.words()) for line in lines], *(c.cells for c in columns), strict=True)
    )
    heads = [Column("method", numeric=False), *map(Column, benchmarks)]
    if view.average:
        values = list(map(_average, zip(*(column.values for column in columns), strict=True)))
        texts = list(map(percent, values))
        rows = [
            (*row, Cell(text, place))
            for row, text, place in zip(rows, texts, places(texts), strict=True)
        ]
        order = sorted(range(len(rows)), key=lambda i: 1.0 if (v := values[i]) is None else -v)
        rows = [rows[i] for i in order]
        heads.append(Column("average"))
    return Sheet(f"{field.title} on all benchmarks", heads, rows)


@dataclass(frozen=True, slots=True)
class _Benchmark:
    """A column; ``values`` are those that compete in it, None for the others."""

    cells: Sequence[Cell]
    values: Sequence[float | None]


def _average(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if len(there) == len(values) else None


def _column(
    benchmark: str, lines: Sequence[Line], lined: Sequence[tuple[Line, Result]], field: Field
) -> _Benchmark:
    here = [(line, r) for line, r in lined if Conditions.of(r).benchmark == benchmark]
    usual = usual_conditions([r for _, r in here])
    of_line = [[r for own, r in here if own == line] for line in lines]
    chosen = list(map(_choose, of_line))
    texts = [DASH if r is None else field.show(r) for r in chosen]
    told = [
        () if r is None else _told(r, len(runs) - 1, usual)
        for r, runs in zip(chosen, of_line, strict=True)
    ]
    competing = [r if r is not None and Conditions.of(r) == usual else None for r in chosen]
    best = places([DASH if r is None else field.show(r) for r in competing])
    cells = [Cell(*cell) for cell in zip(texts, best, told, strict=True)]
    return _Benchmark(cells, [None if r is None else field.read(r) for r in competing])


def usual_conditions(here: Sequence[Result]) -> Conditions:
    """The most frequent conditions of results of one benchmark, one at least."""
    counts = Counter(map(Conditions.of, here))
    return max(counts, key=lambda c: (counts[c], c.checkpoints == "real", c.classes == "all", c))


def _choose(runs: Sequence[Result]) -> Result | None:
    """Of several runs the most complete one, never the best one."""
    return max(runs, key=lambda r: (r["run"]["num_images"], r["run"]["id"]), default=None)


def _told(result: Result, others: int, usual: Conditions) -> tuple[str, ...]:
    conditions, words = Conditions.of(result), footnotes(result)
    if others:
        words.append(f"one of {others + 1} runs: the most complete, else by its id, not the best")
    if conditions != usual:
        words.append(f"not comparable with the column: {'; '.join(differences(conditions, usual))}")
    return tuple(words)


def differences(here: Conditions, usual: Conditions) -> Iterator[str]:
    """In what conditions of one benchmark differ, in words."""
    if here.ids_sha256 != usual.ids_sha256:
        yield "other images"
    for name, own, others in (
        ("names", _names(here), _names(usual)),
        ("classes", here.classes, usual.classes),
        ("class filter", here.class_filter, usual.class_filter),
        ("prompts", here.prompts, usual.prompts),
        ("weights", here.checkpoints, usual.checkpoints),
    ):
        if own != others:
            yield f"{name} {own or 'none'} instead of {others or 'none'}"


def _names(conditions: Conditions) -> str:
    return f"{conditions.names} ({conditions.names_sha256[:8]})"
