"""Were label files read as they were written? The ground truth can tell.

Maps in another encoding than the one that was named give a number all the same, and usually one
near zero. Where another reading of the same files agrees with the ground truth far better, the
result should say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ovbench.errors import DataError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import Dataset, Sample
from ovbench.harness.metrics.scores import Counts

Reading: TypeAlias = str
"""What the values of a file are taken for, in words or as ``--encoding`` has it."""

SHIFTS: Mapping[Reading, int] = {
    "as read": 0,
    "every label less by one": -1,
    "every label more by one": 1,
}

FACTOR, POINTS = 2, 25
"""By how much another reading must raise the pixel accuracy, as a factor and in points, to be
worth a warning (our choice): unrelated maps never agree so well by chance."""


class Agreement:
    """Pixels of some label files that agree with the ground truth, by reading."""

    def __init__(self) -> None:
        self._hits = {"index": 0, "dataset": 0}
        self._pixels = 0

    def add(self, sample: Sample, raw: LabelMap, dataset: Dataset, source: Path) -> None:
        """Read one file, ``(H, W)`` as stored, both ways.

        Values beyond the vocabulary agree with nothing, nor does a file that holds what the
        dataset's own never hold.
        """
        scored = sample.label != dataset.info.ignore_label
        self._pixels += int(np.count_nonzero(scored))
        found = {"index": raw}
        with suppress(DataError):
            found["dataset"] = dataset.decode(raw, source)
        for reading, labels in found.items():
            if labels.shape == scored.shape:
                self._hits[reading] += int(np.count_nonzero((labels == sample.label) & scored))

    def better(self, chosen: Reading) -> tuple[Reading, float, float] | None:
        """A reading that agrees far better than the chosen one, and both accuracies in percent."""
        return _far_better(self._hits, self._pixels, chosen)


def shift_warnings(confusion: Counts) -> list[str]:
    """What a result must say if all its labels seem to be off by one.

    Args:
        confusion: pixels by ground-truth and predicted label, ``(num_labels, num_labels + 1)``; the
            last column is of those without an answer.
    """
    answered = confusion[:, :-1]
    # Read as one less, a pixel of class 3 that was answered with 4 is right.
    hits = {reading: int(np.diagonal(answered, offset=-by).sum()) for reading, by in SHIFTS.items()}
    pixels = int(confusion.sum())
    found = _far_better(hits, pixels, "as read")
    if found is None:
        return []
    reading, here, there = found
    return [
        f"predictions may be off by one: with {reading}, pixel accuracy would be {there:.1f} "
        f"instead of {here:.1f}"
    ]


def _far_better(
    hits: Mapping[Reading, int], pixels: int, chosen: Reading
) -> tuple[Reading, float, float] | None:
    if not pixels:
        return None
    accuracy = {reading: 100 * count / pixels for reading, count in hits.items()}
    best = max(accuracy, key=lambda reading: accuracy[reading])  # the first of equals
    here, there = accuracy[chosen], accuracy[best]
    if there < FACTOR * here or there < here + POINTS:
        return None
    return best, here, there
