"""What a set of images adds up to: arrays, so that no image's counts have to be kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from ovbench.harness.metrics.boundary import BoundaryAreas
from ovbench.harness.metrics.scores import UNANSWERED, Areas, Confusion, Counts, Pixels

# Areas of larger images do not add up within the four bytes that most get along with.
_LARGE = 1 << 29
# Images whose counts are added up at once: numpy's calls cost more than the sums of fewer, and the
# numbers of more are too many for fast memory.
_TOGETHER = 32
_NOTHING = BoundaryAreas(*(np.zeros(0, np.int64) for _ in range(4)))


class Tally:
    """Counts of a set of images, which go in one image at a time.

    Of every image a row of areas stays, of the set its sums: 12 bytes an image and label.
    """

    def __init__(self, num_labels: int) -> None:
        self._num_labels = num_labels
        self._confusion: Counts = np.zeros(num_labels * (num_labels + 1), np.int64)
        self._boundary = Areas(*(np.zeros(num_labels, np.int64) for _ in range(3)))
        self._void: Counts | None = np.zeros(num_labels + 1, np.int64)
        self._rows: list[Pixels] = [np.zeros((0, num_labels), np.int32) for _ in range(3)]
        self._added = 0
        self._waiting: list[tuple[Confusion, BoundaryAreas]] = []

    @classmethod
    def of(cls, images: Iterable[Confusion], num_labels: int) -> Self:
        """Of images whose boundaries are not looked at."""
        tally = cls(num_labels)
        for image in images:
            tally.add(image)
        return tally

    def __len__(self) -> int:
        """Images that are in."""
        return self._added + len(self._waiting)

    def add(self, counted: Confusion, edges: BoundaryAreas = _NOTHING) -> None:
        """Take one image in, as the last row."""
        self._waiting.append((counted, edges))
        if len(self._waiting) == _TOGETHER:
            self._settle()

    @property
    def confusion(self) -> Counts:
        """Pixels by ground-truth and predicted label, ``(num_labels, num_labels + 1)`` int64.

        The last column is of those without an answer.
        """
        self._settle()
        return self._confusion.reshape(self._num_labels, self._num_labels + 1)

    @property
    def boundary(self) -> Areas:
        """Boundary pixels per label, ``(num_labels,)`` int64."""
        self._settle()
        return self._boundary

    @property
    def void(self) -> Counts | None:
        """Ignored pixels by predicted label, ``(num_labels + 1,)`` int64.

        The last counts those without an answer. None if an image's were not counted.
        """
        self._settle()
        return self._void

    def areas(self, rows: Sequence[int] | None = None) -> Areas:
        """Areas by image, ``(images, num_labels)``.

        Args:
            rows: the images, in the order wanted; None for all as they came, uncopied.
        """
        self._settle()
        there = [found[: self._added] for found in self._rows]
        if rows is not None and list(rows) != list(range(self._added)):
            there = [found[list(rows)] for found in there]
        return Areas(*there)

    def _settle(self) -> None:
        """Add up what waits."""
        if not self._waiting:
            return
        images = [counted for counted, _ in self._waiting]
        edges = [found for _, found in self._waiting]
        self._waiting = []
        labels = self._num_labels
        gt = np.concatenate([i.gt for i in images]).astype(np.int64)
        pred = np.concatenate([i.pred for i in images]).astype(np.int64)
        pred[pred == UNANSWERED] = labels
        pixels = np.concatenate([i.pixels for i in images]).astype(np.float64)
        row = np.repeat(np.arange(len(images)), [len(i.pixels) for i in images])
        self._confusion += _summed(gt * (labels + 1) + pred, pixels, labels * (labels + 1))
        hit, there = gt == pred, row * labels + gt
        answers = _summed(row * (labels + 1) + pred, pixels, len(images) * (labels + 1))
        self._append(
            _summed(there[hit], pixels[hit], len(images) * labels).reshape(-1, labels),
            _summed(there, pixels, len(images) * labels).reshape(-1, labels),
            answers.reshape(-1, labels + 1)[:, :labels],
        )
        self._add_void(images)
        known = np.concatenate([e.labels for e in edges])
        boundary = self._boundary
        for total, parts in (
            (boundary.intersection, [e.intersection for e in edges]),
            (boundary.gt, [e.gt for e in edges]),
            (boundary.pred, [e.pred for e in edges]),
        ):
            np.add(total, _summed(known, np.concatenate(parts), labels), out=total)

    def _add_void(self, images: Sequence[Confusion]) -> None:
        voids = [i.void for i in images if i.void is not None]
        if len(voids) < len(images):
            self._void = None
        if self._void is not None:
            pred = np.concatenate([v.pred for v in voids])
            pred = np.where(pred == UNANSWERED, self._num_labels, pred)
            pixels = np.concatenate([v.pixels for v in voids])
            self._void += _summed(pred, pixels, self._num_labels + 1)

    def _append(self, *sums: Counts) -> None:
        """Rows of some more images, with room for as many again."""
        needed = self._added + len(sums[0])
        large = max(found.max(initial=0) for found in sums) > _LARGE
        for place, (rows, found) in enumerate(zip(self._rows, sums, strict=True)):
            kind = np.dtype(np.int64) if large else rows.dtype
            if needed > len(rows) or kind != rows.dtype:
                room = max(needed, 2 * len(rows))
                self._rows[place] = np.zeros((room, self._num_labels), kind)
                self._rows[place][: self._added] = rows[: self._added]
            self._rows[place][self._added : needed] = found
        self._added = needed


def _summed(index: Pixels, pixels: Pixels | npt.NDArray[np.float64], size: int) -> Counts:
    return np.bincount(index, pixels, minlength=size).astype(np.int64)
