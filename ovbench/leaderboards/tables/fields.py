"""What a leaderboard can show of a result: one column each, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ovbench.errors import UsageError
from ovbench.harness.contract.checks.nearest import nearest
from ovbench.harness.contract.supervision import Supervision
from ovbench.harness.metrics.definitions import MIOU_DEFINITIONS
from ovbench.leaderboards.tables.numbers import mebibytes, percent, seconds
from ovbench.leaderboards.tables.sheet import DASH, number

Result = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One column.

    Attributes:
        read: what it shows, off a result; None where there is nothing.
        words: that as text; None as a dash.
        best: which value comes first when rows are sorted by it.
        ranked: its highest value is printed as the best.
        usual: shown unless columns are chosen.
    """

    name: str
    title: str
    read: Callable[[Result], Any]
    words: Callable[[Any], str]
    best: Literal["highest", "lowest"] = "lowest"
    ranked: bool = False
    numeric: bool = True
    verbatim: bool = False
    usual: bool = True

    def show(self, result: Result) -> str:
        """The cell's text."""
        return self.words(self.read(result))


@dataclass(frozen=True, slots=True)
class View:
    """Which of the fields are shown, and in which order the rows.

    Attributes:
        metric: of :data:`METRICS`; ranks the rows and fills the overview.
        columns: names of fields, or "paper"; empty: the usual ones.
        sort: name of the field that orders the rows instead of the metric.
        average: the overview ends with the mean over the benchmarks and is ordered by it.
        by_supervision: tables of their own for what was trained with other labels.
    """

    metric: str = "miou"
    columns: tuple[str, ...] = ()
    sort: str | None = None
    average: bool = False
    by_supervision: bool = False

    def fields(self) -> Sequence[Field]:
        """The columns behind the method's, the metric's first unless they are chosen.

        Raises:
            UsageError: an unknown name; suggests the nearest known one.
        """
        known, first = {**METRICS, **FIELDS}, _known(METRICS, self.metric, "--metric")
        if self.columns:
            named = {**known, PAPER.name: PAPER}
            return [_known(named, name, "--columns") for name in self.columns]
        others = [field for field in FIELDS.values() if field.usual and field != first]
        return [first, *([PAPER] if first.name == "miou" else []), *others]

    def ordered(self, results: Sequence[Result]) -> list[Result]:
        """Results, the best first; those without a value last.

        Raises:
            UsageError: as :meth:`fields`.
        """
        known = {**METRICS, **FIELDS} if self.sort else METRICS
        field = _known(known, self.sort or self.metric, "--sort" if self.sort else "--metric")
        rows = sorted(results, key=lambda r: (r["run"]["method"], r["run"]["id"]))
        there = [row for row in rows if field.read(row) is not None]
        there.sort(key=field.read, reverse=field.best == "highest")
        return there + [row for row in rows if field.read(row) is None]


def _known(fields: Mapping[str, Field], name: str, option: str) -> Field:
    if name in fields:
        return fields[name]
    raise UsageError(f"{option} {name}: {nearest(name, fields)}")


def _score(name: str, title: str, *, usual: bool = True) -> Field:
    def read(result: Result) -> Any:
        return result["metrics"].get(name)

    return Field(name, title, read, percent, "highest", ranked=True, usual=usual)


def _definition(name: str) -> Field:
    def read(result: Result) -> Any:
        return result["metrics"]["definitions"].get(name)

    title = f"mIoU, {name.replace('_', ' ')}"
    return Field(name, title, read, percent, "highest", ranked=True, usual=False)


def _interval(found: tuple[float, float] | None) -> str:
    return DASH if found is None else f"{found[0]:.2f}–{found[1]:.2f}"


def _bounds(result: Result) -> tuple[float, float] | None:
    low, high = result["metrics"]["miou_ci95"]
    return None if low is None else (low, high)


def _millions(value: int | None) -> str:
    return number(None if value is None else value / 10**6, ".2f")


# What decides at which size and in which pieces a method sees an image, by the settings' names.
_INPUT = ("resolution", "short_side", "max_long_side", "window", "windows", "window_stride")


def _input(result: Result) -> str | None:
    config = result["config"]
    shown = [f"{name} {_joined(config[name])}" for name in _INPUT if config.get(name)]
    return ", ".join(shown) or None


def _joined(value: Any) -> str:
    return "/".join(map(str, value)) if isinstance(value, list) else str(value)


def _device(result: Result) -> str:
    run = result["run"]
    return f"{run['device']}, {run['precision']}, batch {run['batch_size']}"


def _trained(result: Result) -> str | None:
    found = Supervision.of(result)
    return found.words if found else None


def _text(value: str | None) -> str:
    return DASH if value is None else value


def _rate(value: float | None) -> str:
    return number(value, ".3g")


FIELDS: Mapping[str, Field] = {
    field.name: field
    for field in (
        _score("miou", "mIoU"),
        Field("interval", "95 % interval", _bounds, _interval, "highest"),
        _score("pixel_accuracy", "pixel acc."),
        _score("mean_accuracy", "mean acc."),
        _score("fwiou", "fwIoU", usual=False),
        _score("boundary_iou", "boundary IoU"),
        Field("s_per_image", "s/image", lambda r: r["profile"]["per_image_s"]["mean"], seconds),
        Field(
            "s_per_query",
            "s/query",
            lambda r: r["profile"].get("per_query_s"),
            seconds,
            usual=False,
        ),
        Field("images_per_s", "images/s", lambda r: r["profile"]["images_per_s"], _rate, "highest"),
        Field("prepare_s", "prepare s", lambda r: r["profile"]["prepare_s"], seconds),
        Field("peak_gpu", "peak GPU MiB", lambda r: r["profile"]["peak_gpu_bytes"], mebibytes),
        Field("peak_rss", "peak RSS MiB", lambda r: r["profile"]["peak_rss_bytes"], mebibytes),
        Field("parameters", "parameters M", lambda r: r["profile"].get("parameters"), _millions),
        Field("supervision", "trained with", _trained, _text, numeric=False),
        Field("input", "input", _input, _text, numeric=False),
        Field("device", "device", _device, _text, numeric=False),
        Field("run", "run", lambda r: r["run"]["id"], _text, numeric=False, verbatim=True),
    )
}
METRICS: Mapping[str, Field] = {
    **{name: field for name, field in FIELDS.items() if field.ranked},
    **{name: _definition(name) for name in MIOU_DEFINITIONS if name != "union"},
}
"""What can rank: scores, and every other definition of mIoU."""
PAPER = Field("paper", "Δ paper", lambda _: None, _text)
"""Stands where the difference to the paper goes, which the board fills in."""
