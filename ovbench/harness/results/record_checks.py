"""Whether a record can be what it says it is, of the run that it lies in.

A checksum tells that a line is as it was written; this tells that what was written can be: a
label beyond the vocabulary would be counted for another image's class.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ovbench.harness.metrics.boundary import BoundaryAreas
from ovbench.harness.metrics.resized import SIDES, Foreground
from ovbench.harness.metrics.scores import UNANSWERED, Confusion, Pixels
from ovbench.harness.results.records import BadImage, Cost, ImageRecord, Record, Session

# Thousands of short arrays are looked at: what ndarray.min adds around these takes as long again.
_least, _most = np.minimum.reduce, np.maximum.reduce


@dataclass(frozen=True, slots=True)
class Expected:
    """What a run's records must agree with.

    Attributes:
        labels: size of the vocabulary.
        images: of the run; None where an older version did not note them.
        summed: every line has a checksum, every image its size: schema 3.
    """

    labels: int
    images: Collection[str] | None
    summed: bool

    def check(self, record: Record) -> None:
        """Raise a ValueError that says what is impossible about a record."""
        if isinstance(record, Session):
            _check_session(record)
            return
        _require(isinstance(record.image, str), "its image has no name")
        if self.images is not None and record.image not in self.images:
            raise ValueError(f"{record.image!r} is no image of this run")
        if isinstance(record, BadImage):
            _require(isinstance(record.reason, str), "no reason is given")
            return
        size = self._size(record)
        _check_confusion(record.confusion, self.labels, size)
        _check_boundary(record.boundary, self.labels, size)
        _check_resized(record.resized)
        _check_cost(record.cost)

    def _size(self, record: ImageRecord) -> int:
        size: Any = record.size
        if size is None and not self.summed:
            # Boundaries count no ignored pixels either.
            size = sum(record.confusion.pixels.tolist())
        if not _is_count(size):
            raise ValueError(f"{size!r} is no number of pixels")
        return int(size)


def _check_confusion(found: Confusion, labels: int, size: int) -> None:
    _check_labels("ground truth", found.gt, 0, labels)
    _check_labels("prediction", found.pred, UNANSWERED, labels)
    pairs = found.gt.astype(np.int64) * (labels + 1) + found.pred
    _require(_ascending(pairs), "a pair of labels is counted twice or out of order")
    total = _total("pixels", found.pixels, 1, size)
    if found.void is None:
        return
    _check_labels("ignored pixels", found.void.pred, UNANSWERED, labels)
    total += _total("pixels", found.void.pixels, 1, size)
    _require(total == size, f"{total} pixels are counted, the image has {size}")


def _check_boundary(found: BoundaryAreas, labels: int, size: int) -> None:
    shared, gt, pred = found.intersection, found.gt, found.pred
    _check_labels("boundary", found.labels, 0, labels)
    _require(_ascending(found.labels), "a boundary is counted twice or out of order")
    for pixels in (shared, gt, pred):
        _total("boundary pixels", pixels, 0, size)
    possible = bool(np.logical_and.reduce(shared <= np.minimum(gt, pred)))
    _require(possible, "two boundaries share more pixels than one of them has")


def _check_resized(found: Mapping[str, Foreground]) -> None:
    for name, (both, gt, pred) in found.items():
        _require(name in SIDES, f"{name!r} is no size to score at")
        possible = 0 <= both <= min(gt, pred) and max(gt, pred) <= SIDES[name] ** 2
        _require(possible, f"its counts at {name} are impossible")


def _check_labels(name: str, values: Pixels, lowest: int, labels: int) -> None:
    low, high = _least(values, initial=0), _most(values, initial=0)
    if low < lowest or high >= labels:
        strange = low if low < lowest else high
        raise ValueError(f"label {strange} ({name}) is outside the vocabulary's {labels} labels")


def _total(name: str, counts: Pixels, least: int, size: int) -> int:
    _require(_least(counts, initial=least) >= least, f"a count of {name} is below {least}")
    total = int(np.add.reduce(counts))
    _require(total <= size, f"more {name} are counted than the image's {size}")
    return total


def _check_cost(cost: Cost) -> None:
    times = (cost.wait_s, cost.compute_s, cost.evaluate_s)
    _require(all(map(_is_amount, times)) and _are_stages(cost.stages_s), "a time is impossible")
    peaks = (cost.rss, cost.gpu_allocated, cost.gpu_reserved)
    _require(all(peak is None or _is_count(peak) for peak in peaks), "a peak is impossible")
    possible = _is_count(cost.batch) and cost.batch > 0 and isinstance(cost.warmup, bool)
    _require(possible, "its batch is impossible")


def _check_session(session: Session) -> None:
    words = (session.started, session.command, session.device, *session.notes)
    counts = (session.rank, session.world_size, session.batch_size, session.parameters or 0)
    possible = (
        all(isinstance(word, str) for word in words)
        and all(map(_is_count, counts))
        and _is_amount(session.prepare_s)
        and _are_stages(session.prepare_stages_s)
        and isinstance(session.environment, Mapping)
    )
    _require(possible, "the header of a session is impossible")


def _are_stages(stages: Any) -> bool:
    return isinstance(stages, Mapping) and all(map(_is_amount, stages.values()))


def _is_amount(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _ascending(values: Pixels) -> bool:
    return bool(np.logical_and.reduce(values[1:] > values[:-1]))


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
