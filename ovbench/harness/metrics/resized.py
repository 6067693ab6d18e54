"""The sizes at which evaluators of image-prompted benchmarks score: theirs, not the picture's.

An answer comes at the picture's size and is brought to theirs by nearest neighbours; a method that
answers at that size itself can differ by the pixels of an outline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from ovbench.harness.metrics.scores import Areas, Flags, mean_or_nan

SIDES: Final[Mapping[str, int]] = {"hsnet_400": 400, "matcher_518": 518, "ipseg_1024": 1024}
"""The side of the square that a definition scores at.

HSNet's and Matcher's evaluators bring the ground truth there by nearest neighbours and sum over a
class's episodes. IPSeg's ``compute_iou`` enlarges it bilinearly and takes all that is not 0, which
widens the object, and averages over images.
"""

Foreground: TypeAlias = tuple[int, int, int]
"""Pixels of the object in both, in the ground truth and in the answer."""


def foreground_at_sides(truth: Flags, answer: Flags, ignored: Flags) -> dict[str, Foreground]:
    """Count the object's pixels at each of :data:`SIDES`.

    Args:
        truth, answer: the object, ``(H, W)`` bool.
        ignored: pixels that are not scored, ``(H, W)`` bool.
    """
    found = {}
    for name, side in SIDES.items():
        rows, columns = (_nearest(length, side) for length in truth.shape)
        near = np.ix_(rows, columns)
        shown = _touched(truth, side) if name == "ipseg_1024" else truth[near]
        scored = ~ignored[near]
        shown, given = shown & scored, answer[near] & scored
        counts = (shown & given).sum(), shown.sum(), given.sum()
        found[name] = (int(counts[0]), int(counts[1]), int(counts[2]))
    return found


def miou_at_sides(
    labels: Sequence[int], counts: Sequence[Mapping[str, Foreground]]
) -> dict[str, float]:
    """mIoU under the definitions of :data:`SIDES`, in percent; none where images lack counts.

    Args:
        labels: the class that each image was asked for.
        counts: of each image, from :func:`foreground_at_sides`.
    """
    found = {}
    for name in SIDES:
        if not counts or not all(name in one for one in counts):
            continue
        rows = np.array([one[name] for one in counts], dtype=np.int64)
        if name != "ipseg_1024":
            classes, place = np.unique(labels, return_inverse=True)
            summed = np.zeros((len(classes), 3), np.int64)
            np.add.at(summed, place, rows)
            rows = summed
        iou = Areas(rows[:, 0], rows[:, 1], rows[:, 2]).iou
        found[name] = mean_or_nan(iou[~np.isnan(iou)])
    return found


def _nearest(length: int, side: int) -> npt.NDArray[np.intp]:
    """Where PyTorch's nearest neighbours lie, in its own float32."""
    places = np.arange(side, dtype=np.float32) * np.float32(length / side)
    return np.minimum(places.astype(np.intp), length - 1)


def _touched(mask: Flags, side: int) -> Flags:
    """A mask of 0 and 255, enlarged bilinearly and rounded: what is not 0."""
    grey = mask.astype(np.float32) * 255
    for axis in (0, 1):
        length = mask.shape[axis]
        place = ((np.arange(side) + 0.5) * length / side - 0.5).clip(0, length - 1)
        low = place.astype(np.intp)
        share = (place - low).astype(np.float32)
        share = share[:, None] if axis == 0 else share[None, :]
        high = np.minimum(low + 1, length - 1)
        grey = np.take(grey, low, axis) * (1 - share) + np.take(grey, high, axis) * share
    return np.asarray(grey >= 0.5)
