"""What a preset stands for: settings that a method names, or those of the benchmark at hand."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ovbench.errors import UsageError
from ovbench.harness.contract.datasets import DatasetInfo
from ovbench.harness.contract.published import PUBLISHED, Published, benchmark_words
from ovbench.harness.contract.segmenters import SegmenterClass
from ovbench.harness.contract.settings import override, refuse_unknown_preset, resolved
from ovbench.harness.registry.glance import refuse_missing_packages, refuse_unknown_names
from ovbench.harness.registry.names import DATASETS, METHODS

_BY_HAND = "--set name=value gives them one by one"


@dataclass(frozen=True, slots=True)
class Chosen:
    """The settings behind a preset.

    Attributes:
        values: those it changes.
        published: the row they stand in, or None.
        varying: the settings in which the rows of the method differ; empty without a row.
    """

    values: Mapping[str, Any]
    published: Published | None = None
    varying: tuple[str, ...] = ()

    def record(self, given: Collection[str]) -> dict[str, Any] | None:
        """What a result keeps of the row; JSON-ready, None where there is none.

        Args:
            given: names of settings that replace the row's: nobody tuned these for it.
        """
        if (row := self.published) is None:
            return None
        return {
            "dataset": row.dataset,
            "background": row.background,
            "names": row.names,
            "source": row.source,
            "varying": [name for name in self.varying if name not in given],
        }


def choose_preset(
    method: str,
    method_class: SegmenterClass,
    preset: str | None,
    benchmark: DatasetInfo | None = None,
) -> Chosen:
    """The settings that a preset stands for.

    Args:
        benchmark: that the preset ``"published"`` takes the row of; None where there is none.

    Raises:
        UsageError: no such preset, or no row for the benchmark.
    """
    if preset is None:
        return Chosen({})
    presets: Mapping[str, Mapping[str, Any]] = getattr(method_class, "presets", {})
    rows = published_rows(method_class)
    refuse_unknown_preset(method, preset, [*presets, *([PUBLISHED] if rows else [])])
    if preset != PUBLISHED or not rows:
        return Chosen(dict(presets[preset]))
    if benchmark is None:
        raise UsageError(
            f"{method}: the preset {PUBLISHED!r} takes the values of a benchmark, and there is "
            f"none here; {_BY_HAND}"
        )
    row = _row(method, rows, benchmark)
    return Chosen(dict(row.settings), row, varying_settings(method_class))


def published_rows(method_class: SegmenterClass) -> Sequence[Published]:
    """The rows of a method; none where it has no such table.

    Raises:
        UsageError: what it calls so is no table of rows.
    """
    rows = getattr(method_class, "published", ())
    if not isinstance(rows, Sequence) or not all(isinstance(row, Published) for row in rows):
        raise UsageError(
            f"published={rows!r} of {method_class}: no sequence of rows Published(...)"
        )
    return tuple(rows)


def varying_settings(method_class: SegmenterClass) -> tuple[str, ...]:
    """The settings in which the rows of a method differ, in the order of its settings."""
    rows = [
        resolved(override(method_class.Settings, r.settings)) for r in published_rows(method_class)
    ]
    first = rows[0] if rows else {}
    return tuple(name for name in first if any(row[name] != first[name] for row in rows))


def published_names(methods: Sequence[str], benchmark: DatasetInfo) -> str | None:
    """The set of class names that methods were published with on a benchmark.

    Raises:
        UsageError: a method has no row for the benchmark, or the methods' names differ.
    """
    found: dict[str | None, str] = {}
    for method in methods:
        refuse_unknown_names(method, PUBLISHED, ())
        refuse_missing_packages(method)
        row = choose_preset(method, METHODS.load(method), PUBLISHED, benchmark).published
        found.setdefault(row.names if row else None, method)
    if len(found) > 1:
        told = ", ".join(f"{names or 'plain'} ({method})" for names, method in found.items())
        raise UsageError(f"published with other class names: {told}; choose some by --names")
    return next(iter(found), None)


def refuse_other_benchmark(row: Mapping[str, Any], benchmark: DatasetInfo) -> None:
    """Raise a :class:`UsageError` if a row, as recorded, is of another benchmark."""
    if (row["dataset"], row["background"]) != (benchmark.name, benchmark.background):
        raise UsageError(
            f"the settings are those published for "
            f"{benchmark_words(row['dataset'], row['background'])}, not for "
            f"{benchmark_words(benchmark.name, benchmark.background)}; "
            "load_method(..., benchmark=dataset.info) takes the latter's"
        )


def _row(method: str, rows: Sequence[Published], benchmark: DatasetInfo) -> Published:
    for row in rows:
        if (row.dataset, row.background) == (benchmark.name, benchmark.background):
            return row
    entry = DATASETS.entries.get(benchmark.name)
    asked = benchmark_words(benchmark.name, benchmark.background)
    own = ", which is nobody's benchmark" if entry and not entry.published else ""
    known = ", ".join(row.benchmark for row in rows)
    raise UsageError(
        f"{method} has no published settings for {asked}{own}; it has them for: {known}; {_BY_HAND}"
    )
