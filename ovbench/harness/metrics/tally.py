"""What a set of images adds up to: arrays, so that no image's counts have to be kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np

from ovbench.harness.metrics.boundary import BoundaryAreas
from ovbench.harness.metrics.scores import UNANSWERED, Areas, Confusion, Counts, Pixels

# Areas of larger images do not add up within the four bytes that most get along with.
_LARGE = 1 << 29


class Tally:
    """Counts of a set of images, which go in one image at a time.

    Of every image a row of areas stays, of the set its sums: 12 bytes an image and label.

    Attributes:
        confusion: pixels by ground-truth and predicted label, ``(num_labels, num_labels + 1)``
            int64; the last column is of those without an answer.
        boundary: boundary pixels per label, ``(num_labels,)`` int64.
        void: ignored pixels by predicted label, ``(num_labels + 1,)`` int64, the last without an
            answer; None if an image's were not counted.
    """

    def __init__(self, num_labels: int) -> None:
        self.confusion: Counts = np.zeros((num_labels, num_labels + 1), np.int64)
        self.boundary = Areas(*(np.zeros(num_labels, np.int64) for _ in range(3)))
        self.void: Counts | None = np.zeros(num_labels + 1, np.int64)
        self._images = 0
        self._rows: list[Pixels] = [np.zeros((0, num_labels), np.int32) for _ in range(3)]

    @classmethod
    def of(cls, images: Iterable[Confusion], num_labels: int) -> Self:
        """Of images whose boundaries are not looked at."""
        tally = cls(num_labels)
        for image in images:
            tally.add(image)
        return tally

    def __len__(self) -> int:
        """Images that are in."""
        return self._images

    def add(self, counted: Confusion, edges: BoundaryAreas | None = None) -> None:
        """Take one image in, as the last row."""
        gt, pred, pixels = counted.gt, counted.pred, counted.pixels
        self.confusion[gt, pred] += pixels  # pairs are unique; no answer is -1, the last
        self._make_room(int(pixels.sum()))
        hit, answered = gt == pred, pred != UNANSWERED
        sums = ((gt[hit], pixels[hit]), (gt, pixels), (pred[answered], pixels[answered]))
        for rows, (labels, found) in zip(self._rows, sums, strict=True):
            rows[self._images] = np.bincount(labels, found, minlength=rows.shape[1])
        self._images += 1
        if counted.void is None:
            self.void = None
        elif self.void is not None:
            self.void[counted.void.pred] += counted.void.pixels
        if edges is not None:
            self.boundary.intersection[edges.labels] += edges.intersection
            self.boundary.gt[edges.labels] += edges.gt
            self.boundary.pred[edges.labels] += edges.pred

    def areas(self, rows: Sequence[int] | None = None) -> Areas:
        """Areas by image, ``(images, num_labels)``.

        Args:
            rows: the images, in the order wanted; None for all as they came, uncopied.
        """
        there = [found[: self._images] for found in self._rows]
        if rows is not None and list(rows) != list(range(self._images)):
            there = [found[list(rows)] for found in there]
        return Areas(*there)

    def _make_room(self, pixels: int) -> None:
        """For one more image of so many pixels."""
        for place, rows in enumerate(self._rows):
            kind = np.dtype(np.int64) if pixels > _LARGE else rows.dtype
            if self._images < len(rows) and kind == rows.dtype:
                continue
            more = np.zeros((max(64, 2 * len(rows)), rows.shape[1]), kind)
            more[: self._images] = rows[: self._images]
            self._rows[place] = more
