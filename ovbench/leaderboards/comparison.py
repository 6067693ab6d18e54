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
from ovbench.harness.metrics import Areas, stack_areas
from ovbench.harness.store import RunRecords, RunStore
from ovbench.leaderboards.table import method_words

LEVEL = 0.95
SAMPLES = 10_000
# What two runs must share to be about the same pixels and the same labels.
_SAME = ("name", "split", "variant", "subset", "background", "ignore_label", "scored")
# What they may differ in, and a reader must know of.
_TOLD = (
    "vocabulary.sha256",
    "prompts.sha256",
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
    stores = RunStore(first), RunStore(second)
    identities = [_identity(store) for store in stores]
    _check_same(*identities)
    records = [store.records() for store in stores]
    images = sorted(records[0].images.keys() & records[1].images.keys())
    if len(images) < 2:
        raise UsageError(
            f"{first} and {second} have {len(images)} images in common; two are needed"
        )
    names = identities[0]["vocabulary"]["names"]
    scored = identities[0]["dataset"]["scored"] or range(len(names))
    areas = [_areas(found, images, len(names)).take(scored) for found in records]
    ious = [resampled_ious(one, samples=samples, seed=seed) for one in areas]
    whole = [_summed(one).iou for one in areas]
    return Comparison(
        (_name(first, identities[0]), _name(second, identities[1])),
        _difference(
            "mIoU",
            _miou(whole[0]),
            _miou(whole[1]),
            mean_over_classes(ious[0]),
            mean_over_classes(ious[1]),
        ),
        [
            _difference(names[label], whole[0][i], whole[1][i], ious[0][:, i], ious[1][:, i])
            for i, label in enumerate(scored)
        ],
        len(images),
        _warnings(identities, records, images),
    )


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


def _identity(store: RunStore) -> Mapping[str, Any]:
    identity = store.identity()
    if identity is None:
        raise UsageError(f"{store.path}: no run here; a run directory holds run.json and records")
    if "scored" not in identity["dataset"]:
        raise UsageError(f"{store.path}: a run of an older ovbench; measure again")
    return identity


def _check_same(a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
    differing = [key for key in _SAME if a["dataset"][key] != b["dataset"][key]]
    if differing:
        pairs = (f"{key} {a['dataset'][key]} and {b['dataset'][key]}" for key in differing)
        raise UsageError(f"the runs are not of the same benchmark: {', '.join(pairs)}")
    if len(a["vocabulary"]["names"]) != len(b["vocabulary"]["names"]):
        raise UsageError("the runs do not have the same number of labels")


def _areas(records: RunRecords, images: Sequence[str], num_labels: int) -> Areas:
    return stack_areas([records.images[name].confusion for name in images], num_labels)


def _summed(areas: Areas) -> Areas:
    return Areas(areas.intersection.sum(axis=0), areas.gt.sum(axis=0), areas.pred.sum(axis=0))


def _miou(ious: npt.NDArray[np.float64]) -> float:
    return float(mean_over_classes(ious[None])[0])


def _name(path: Path, identity: Mapping[str, Any]) -> str:
    """The method, and the directory, as both runs may be of one method."""
    method = identity["method"]
    words = method_words(method["name"], method["preset"], method["changes"])
    return f"{words} [{path.resolve().name}]"


def _warnings(
    identities: Sequence[Mapping[str, Any]],
    records: Sequence[RunRecords],
    images: Sequence[str],
) -> list[str]:
    found = []
    most = max(len(one.images) for one in records)
    if len(images) < most:
        found.append(f"only the {len(images)} images that both runs hold, of up to {most}")
    for key in _TOLD:
        a, b = (_leaf(identity, key) for identity in identities)
        if a != b:
            found.append(f"the runs differ in {key}: {_short(a)} and {_short(b)}")
    return found


def _leaf(identity: Mapping[str, Any], key: str) -> Any:
    value: Any = identity
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("name"))
    return str(value)[:12]


def p_words(p: float) -> str:
    """As papers print it."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
