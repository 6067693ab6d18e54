"""Whether a record can be what it says it is, of the run that it lies in.

A checksum tells that a line is as it was written; this tells that what was written can be: a
label beyond the vocabulary would be counted for another image's class.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ovbench.harness.metrics.boundary import BoundaryAreas
from ovbench.harness.metrics.resized import SIDES, Foreground
from ovbench.harness.metrics.scores import UNANSWERED, Confusion, Counts, Pixels
from ovbench.harness.results.packed import FAR_COUNT
from ovbench.harness.results.records import BadImage, Cost, ImageRecord, Record, Session


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

    def check(self, records: Sequence[Record]) -> None:
        """Raise a ValueError that says what is impossible about one of the records.

        Many are checked at once: numpy's calls cost more than the few numbers of an image.
        """
        for record in records:
            self._check_words(record)
        images = [record for record in records if isinstance(record, ImageRecord)]
        if images:
            sizes = np.array([self._size(image) for image in images], np.int64)
            _check_confusions([image.confusion for image in images], self.labels, sizes)
            _check_boundaries([image.boundary for image in images], self.labels, sizes)

    def _check_words(self, record: Record) -> None:
        """All but what was counted."""
        if isinstance(record, Session):
            _check_session(record)
            return
        _require(isinstance(record.image, str), "its image has no name")
        if self.images is not None and record.image not in self.images:
            raise ValueError(f"{record.image!r} is no image of this run")
        if isinstance(record, BadImage):
            _require(isinstance(record.reason, str), "no reason is given")
            return
        _check_resized(record.resized)
        _check_cost(record.cost)

    def _size(self, record: ImageRecord) -> int:
        size: Any = record.size
        if size is None and not self.summed:
            # Boundaries count no ignored pixels either.
            size = sum(record.confusion.pixels.tolist())
        if not _is_count(size) or size >= FAR_COUNT:
            raise ValueError(f"{size!r} is no number of pixels")
        return int(size)


def _check_confusions(found: Sequence[Confusion], labels: int, sizes: Counts) -> None:
    gt = np.concatenate([one.gt for one in found])
    pred = np.concatenate([one.pred for one in found])
    lengths = [len(one.pixels) for one in found]
    _check_labels("ground truth", gt, 0, labels)
    _check_labels("prediction", pred, UNANSWERED, labels)
    pairs = _of_images(gt, lengths, labels) * (labels + 1) + pred
    _require(_ascending(pairs), "a pair of labels is counted twice or out of order")
    totals = _totals("pixels", [one.pixels for one in found], 1, sizes)
    voids = [(place, one.void) for place, one in enumerate(found) if one.void is not None]
    if not voids:
        return
    _check_labels(
        "ignored pixels", np.concatenate([void.pred for _, void in voids]), UNANSWERED, labels
    )
    known = [place for place, _ in voids]
    totals, sizes = totals[known], sizes[known]
    totals = totals + _totals("pixels", [void.pixels for _, void in voids], 1, sizes)
    if (wrong := np.flatnonzero(totals != sizes)).size:
        total, size = totals[wrong[0]], sizes[wrong[0]]
        raise ValueError(f"{total} pixels are counted, the image has {size}")


def _check_boundaries(found: Sequence[BoundaryAreas], labels: int, sizes: Counts) -> None:
    known = np.concatenate([one.labels for one in found])
    _check_labels("boundary", known, 0, labels)
    ordered = _of_images(known, [len(one.labels) for one in found], labels)
    _require(_ascending(ordered), "a boundary is counted twice or out of order")
    counted = [
        [one.intersection for one in found],
        [one.gt for one in found],
        [one.pred for one in found],
    ]
    for pixels in counted:
        _totals("boundary pixels", pixels, 0, sizes)
    shared, gt, pred = map(np.concatenate, counted)
    possible = bool((shared <= np.minimum(gt, pred)).all())
    _require(possible, "two boundaries share more pixels than one of them has")


def _check_resized(found: Mapping[str, Foreground]) -> None:
    for name, (both, gt, pred) in found.items():
        _require(name in SIDES, f"{name!r} is no size to score at")
        possible = 0 <= both <= min(gt, pred) and max(gt, pred) <= SIDES[name] ** 2
        _require(possible, f"its counts at {name} are impossible")


def _check_labels(name: str, values: Pixels, lowest: int, labels: int) -> None:
    low, high = values.min(initial=0), values.max(initial=0)
    if low < lowest or high >= labels:
        strange = low if low < lowest else high
        raise ValueError(f"label {strange} ({name}) is outside the vocabulary's {labels} labels")


def _of_images(values: Pixels, lengths: Sequence[int], labels: int) -> Counts:
    """Labels of one image after the other, each image's beyond all of the one before."""
    return np.repeat(np.arange(len(lengths)) * labels, lengths) + values


def _totals(name: str, counts: Sequence[Pixels], least: int, sizes: Counts) -> Counts:
    """What the counts of each image add up to."""
    joined, lengths = np.concatenate(counts), np.array([len(one) for one in counts])
    _require(joined.min(initial=least) >= least, f"a count of {name} is below {least}")
    totals, some = np.zeros(len(counts), np.int64), lengths > 0
    if some.any():
        # Of an empty stretch reduceat would take the first of the next.
        totals[some] = np.add.reduceat(joined, (np.cumsum(lengths) - lengths)[some])
    if (wrong := np.flatnonzero(totals > sizes)).size:
        raise ValueError(f"more {name} are counted than the image's {sizes[wrong[0]]}")
    return totals


def _check_cost(cost: Cost) -> None:
    times = (cost.wait_s, cost.compute_s, cost.evaluate_s)
    _require(all(map(_is_amount, times)) and _are_stages(cost.stages_s), "a time is impossible")
    peaks = (cost.rss, cost.gpu_allocated, cost.gpu_reserved)
    _require(all(peak is None or _is_count(peak) for peak in peaks), "a peak is impossible")
    possible = _is_count(cost.batch) and cost.batch > 0 and isinstance(cost.warmup, bool)
    _require(possible, "its batch is impossible")


def _check_session(session: Session) -> None:
    words = (session.started, session.command, session.device, *session.notes)
    counts = (
        session.rank,
        session.world_size,
        session.batch_size,
        session.parameters or 0,
        session.fitting or 0,
    )
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
    return bool((values[1:] > values[:-1]).all())


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
