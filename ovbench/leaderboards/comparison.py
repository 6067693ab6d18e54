"""Is one run better than another? Both measured the same images, so the images are paired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ovbench.errors import UsageError
from ovbench.harness.bootstrap import mean_over_classes, resampled_ious
from ovbench.harness.json_files import leaf
from ovbench.harness.metrics import Areas
from ovbench.leaderboards.measured import Measured

LEVEL = 0.95
SAMPLES = 10_000
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
        low, high: 95 % interval of the effect when images are drawn anew.
        p: two-sided, of there being no difference, from the same draws.
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


def compare(first: Path, second: Path, *, samples: int = SAMPLES, seed: int = 0) -> Comparison:
    """Compare two run directories by a paired bootstrap over their images.

    Args:
        samples: number of resamples; the smallest p is about 2 divided by it.

    Raises:
        UsageError: no runs, not the same benchmark, or fewer than two images in common.
    """
    return compare_measured(Measured.read(first), Measured.read(second), samples=samples, seed=seed)


def compare_measured(
    first: Measured, second: Measured, *, samples: int = SAMPLES, seed: int = 0
) -> Comparison:
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
    areas = [one.areas(images) for one in (first, second)]
    ious = [resampled_ious(one, samples=samples, seed=seed) for one in areas]
    whole = [_summed(one).iou for one in areas]
    return Comparison(
        (first.name, second.name),
        _difference(
            "mIoU",
            _miou(whole[0]),
            _miou(whole[1]),
            mean_over_classes(ious[0]),
            mean_over_classes(ious[1]),
        ),
        [
            _difference(first.labels[label], whole[0][i], whole[1][i], ious[0][:, i], ious[1][:, i])
            for i, label in enumerate(first.scored)
        ],
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


def _difference(
    name: str,
    a: float,
    b: float,
    drawn_a: npt.NDArray[np.float64],
    drawn_b: npt.NDArray[np.float64],
) -> Difference:
    drawn = drawn_a - drawn_b
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(a) or np.isnan(b) or not len(drawn):
        return Difference(name, _number(a), _number(b), None, None, None, None)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    # Counting the runs as drawn themselves keeps p above 0 (Davison and Hinkley 1997, eq. 4.11).
    tail = min((drawn <= 0).sum(), (drawn >= 0).sum())
    p = min(1.0, 2 * (tail + 1) / (len(drawn) + 1))
    return Difference(name, float(a), float(b), float(a - b), float(low), float(high), float(p))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _summed(areas: Areas) -> Areas:
    return Areas(areas.intersection.sum(axis=0), areas.gt.sum(axis=0), areas.pred.sum(axis=0))


def _miou(ious: npt.NDArray[np.float64]) -> float:
    return float(mean_over_classes(ious[None])[0])


def _warnings(first: Measured, second: Measured, images: Sequence[str]) -> list[str]:
    found = []
    most = max(len(one.records.images) for one in (first, second))
    if len(images) < most:
        found.append(f"only the {len(images)} images that both runs hold, of up to {most}")
    for key in _TOLD:
        a, b = (leaf(one.identity, key) for one in (first, second))
        if a != b:
            found.append(f"the runs differ in {key}: {_short(a)} and {_short(b)}")
    return found


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("name"))
    return str(value)[:12]


def p_words(p: float) -> str:
    """As papers print it."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
