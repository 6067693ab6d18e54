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
import numpy.typing as npt

from ovbench.harness.boundary import BoundaryAreas
from ovbench.harness.metrics import UNANSWERED, Confusion, Counts
from ovbench.harness.records import BadImage, Cost, ImageRecord, Record, Session

_MOST_PIXELS = 1 << 40
"""Of an image; sums of counts below it stay far from the largest integer."""


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
        _check_cost(record.cost)

    def _size(self, record: ImageRecord) -> int:
        size: Any = record.size
        if size is None and not self.summed:
            size = int(record.confusion.pixels.sum())  # boundaries count no ignored pixels either
        if not _is_count(size) or size > _MOST_PIXELS:
            raise ValueError(f"{size!r} is no number of pixels")
        return int(size)


def _check_confusion(found: Confusion, labels: int, size: int) -> None:
    _require(len(found.gt) == len(found.pred) == len(found.pixels), "its counts are incomplete")
    pairs = found.gt.astype(np.int64) * labels + found.pred
    _check_labels("ground truth", found.gt, 0, labels)
    _check_labels("prediction", found.pred, 0, labels)
    _require(_ascending(pairs), "a pair of labels is counted twice or out of order")
    total = _total(found.pixels, size)
    if found.void is None:
        return
    _require(len(found.void.pred) == len(found.void.pixels), "its ignored pixels are incomplete")
    _check_labels("ignored pixels", found.void.pred, UNANSWERED, labels)
    total += _total(found.void.pixels, size)
    _require(total == size, f"{total} pixels are counted, the image has {size}")


def _total(pixels: Counts, size: int) -> int:
    _require(int(pixels.min(initial=1)) > 0, "a count of pixels is not positive")
    _check_total("pixels", pixels, size)
    return int(pixels.sum())


def _check_boundary(found: BoundaryAreas, labels: int, size: int) -> None:
    areas = (found.intersection, found.gt, found.pred)
    complete = all(len(area) == len(found.labels) for area in areas)
    _require(complete, "its boundary counts are incomplete")
    _check_labels("boundary", found.labels, 0, labels)
    _require(_ascending(found.labels), "a boundary is counted twice or out of order")
    _require(int(found.intersection.min(initial=0)) >= 0, "a count of pixels is negative")
    shared = bool((found.intersection <= np.minimum(found.gt, found.pred)).all())
    _require(shared, "two boundaries share more pixels than one of them has")
    _check_total("boundary pixels", found.gt, size)
    _check_total("boundary pixels", found.pred, size)


def _check_labels(name: str, values: npt.NDArray[Any], lowest: int, labels: int) -> None:
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low < lowest or high >= labels:
        strange = low if low < lowest else high
        raise ValueError(f"label {strange} ({name}) is outside the vocabulary's {labels} labels")


def _check_total(name: str, counts: Counts, size: int) -> None:
    if int(counts.max(initial=0)) > size or int(counts.sum()) > size:
        raise ValueError(f"more {name} are counted than the image's {size}")


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
    return type(value) in (int, float) and math.isfinite(value) and value >= 0


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _ascending(values: Counts) -> bool:
    return bool((values[1:] > values[:-1]).all())


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
