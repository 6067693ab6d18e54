"""Is one run better than another? Both measured the same images, so the images are paired."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ovbench.errors import UsageError
from ovbench.harness.files.json_files import leaf
from ovbench.harness.metrics.interval import Estimate, label_estimate, miou_estimate
from ovbench.leaderboards.tables.labels import differing_settings
from ovbench.leaderboards.tables.measured import Measured

LEVEL = 0.95
# What two runs must share to be about the same pixels and the same labels.
_SAME = ("name", "split", "variant", "subset", "background", "ignore_label", "scored")
# What they may differ in, and a reader must know of.
_TOLD = (
    "vocabulary.sha256",
    "prompts.sha256",
    "files.labels",
    "files.images",
    "classes",
    "filter",
    "checkpoint_flavour",
    "precision",
    "limit",
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One score of both runs, in percent; None where undefined.

    Attributes:
        effect: the first run's minus the second's.
        low, high: 95 % interval of the effect on endless images of the kind; None where a
            single image decides it.
        p: two-sided, of there being no difference; below 0.05 where the interval leaves 0 out.
    """

    name: str
    a: float | None
    b: float | None
    effect: float | None
    low: float | None
    high: float | None
    p: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs on the same images.

    Attributes:
        names: of the runs.
        overall: mIoU.
        per_class: IoU of the scored classes.
        num_images: that both measured.
        warnings: what else differs between the runs.
    """

    names: tuple[str, str]
    overall: Difference
    per_class: Sequence[Difference]
    num_images: int
    warnings: Sequence[str]

    def sentence(self) -> str:
        """The answer in words."""
        a, b = self.names
        found, images = self.overall, f"the same {self.num_images:,} images"
        if found.effect is None or found.low is None or found.high is None or found.p is None:
            return f"{a} and {b} cannot be compared: nothing is scored on {images}"
        margin = f"{abs(found.effect):.2f} ± {(found.high - found.low) / 2:.2f} mIoU"
        if found.low <= 0 <= found.high:
            return f"{a} and {b} cannot be told apart: {margin} between them on {images}"
        better, other = (a, b) if found.effect > 0 else (b, a)
        return f"{better} is better than {other} by {margin} on {images} (p {p_words(found.p)})"


def compare(first: Path, second: Path) -> Comparison:
    """Compare two run directories by a jackknife over their images, which are paired.

    Raises:
        UsageError: no runs, not the same benchmark, or fewer than two images in common.
    """
    return compare_measured(Measured.read(first), Measured.read(second))


def compare_measured(first: Measured, second: Measured) -> Comparison:
    """As :func:`compare`, of runs that are read.

    Raises:
        UsageError: not the same benchmark, or fewer than two images in common.
    """
    check_same(first, second)
    images = common_images([first, second])
    if len(images) < 2:
        raise UsageError(
            f"{first.path} and {second.path} have {len(images)} images in common; two are needed"
        )
    a, b = (one.areas(images) for one in (first, second))
    classes = (
        _difference(first.labels[label], label_estimate(a, place), label_estimate(b, place))
        for place, label in enumerate(first.scored)
    )
    return Comparison(
        (first.name, second.name),
        _difference("mIoU", miou_estimate(a), miou_estimate(b)),
        list(classes),
        len(images),
        _warnings(first, second, images),
    )


def common_images(runs: Sequence[Measured]) -> list[str]:
    """The images that every run measured, in order of their ids."""
    return sorted(set.intersection(*(set(run.records.images) for run in runs)))


def check_same(first: Measured, second: Measured) -> None:
    """Refuse runs that are not about the same pixels and the same labels.

    Raises:
        UsageError: says in what they differ.
    """
    a, b = first.identity["dataset"], second.identity["dataset"]
    # What is known by its content may be called anything.
    own = all("files" in run.identity for run in (first, second))
    differing = [key for key in _SAME if a[key] != b[key] and not (own and key == "variant")]
    if differing:
        pairs = (f"{key} {a[key]} and {b[key]}" for key in differing)
        raise UsageError(f"the runs are not of the same benchmark: {', '.join(pairs)}")
    if len(first.labels) != len(second.labels):
        raise UsageError("the runs do not have the same number of labels")


def _difference(name: str, a: Estimate, b: Estimate) -> Difference:
    effect = a.minus(b)
    low, high = effect.interval(LEVEL)
    values = (a.value, b.value, effect.value, low, high, effect.p())
    return Difference(name, *map(_number, values))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _warnings(first: Measured, second: Measured, images: Sequence[str]) -> list[str]:
    found = []
    most = max(len(one.records.images) for one in (first, second))
    if len(images) < most:
        found.append(f"only the {len(images)} images that both runs hold, of up to {most}")
    for one in (first, second):
        asked, there = one.identity["dataset"]["num_images"], len(one.records.images)
        if there + len(one.records.bad) < asked:
            found.append(f"{one.name} is not finished: {there} of {asked} images")
    for key in _TOLD:
        a, b = (leaf(one.identity, key) for one in (first, second))
        if a != b:
            found.append(f"the runs differ in {key}: {_short(a)} and {_short(b)}")
    return found + list(_untold_settings(first.identity, second.identity))


def _untold_settings(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[str]:
    """Settings in which runs differ though their names say nothing of it."""
    a, b = first["method"], second["method"]
    if (a["name"], a["preset"]) != (b["name"], b["preset"]):
        return
    configs = first["settings"], second["settings"]
    for name in differing_settings(configs):
        if name not in {**a["changes"], **b["changes"]}:
            one, other = (config.get(name, "not there") for config in configs)
            yield f"the runs differ in the setting {name}: {one} and {other}"


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("name"))
    return str(value)[:12]


def p_words(p: float) -> str:
    """As papers print it."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
