"""From masks to a region map, and what methods do with one: pool features and vote on labels.

A region map gives every pixel the number of its region, from 1; 0 is a pixel of none.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

RegionMap: TypeAlias = npt.NDArray[np.int32]
"""``(H, W)`` int32."""
Painting: TypeAlias = Literal["larger", "smaller", "better", "later"]
"""Which mask is on top where several meet: the larger, the smaller, that of the higher score, or
the later one in the list."""

MaskArray: TypeAlias = npt.NDArray[np.bool_]
ScoreArray: TypeAlias = npt.NDArray[np.float32]


def paint(masks: MaskArray, scores: ScoreArray, on_top: Painting = "larger") -> RegionMap:
    """One map of masks that may overlap.

    A mask that others hide wholly has no pixel in it, and the numbers have no gaps: 1 is what was
    painted first. Of equals, the later one in the list is on top.

    Args:
        masks: ``(n, H, W)`` bool.
        scores: ``(n,)``, of any scale.
        on_top: CorrCLIP's released code (Zhang et al., ICCV 2025) paints the larger over the
            smaller.
    """
    areas = masks.sum(axis=(1, 2))
    rank = {"larger": areas, "smaller": -areas, "better": scores, "later": 0 * areas}[on_top]
    painted = np.zeros(masks.shape[1:], np.int32)
    for number, index in enumerate(np.argsort(rank, kind="stable"), 1):
        painted[masks[index]] = number
    present = np.unique(np.append(painted, 0))  # 0 keeps its place where nothing is free
    return np.searchsorted(present, painted).astype(np.int32)


def fuse(
    masks: MaskArray, scores: ScoreArray, *, box_iou: float = 0.2, containment: float = 0.8
) -> tuple[MaskArray, ScoreArray]:
    """Join masks that hold each other, as TextRegion does (Xiao et al., TMLR 2025).

    From the best score down, a mask takes in every later one whose box has a higher IoU with its
    own than ``box_iou`` and whose overlap is more than ``containment`` of the smaller of the two.
    Both are compared as they were made, not as they have grown, which is our reading.

    Args:
        masks: ``(n, H, W)`` bool.
        scores: ``(n,)``.

    Returns:
        The joined masks ``(m, H, W)`` and the score of each one's best, in falling order. Masks
        without a pixel are left out.
    """
    areas = masks.sum(axis=(1, 2))
    order = [i for i in np.argsort(-scores, kind="stable").tolist() if areas[i]]
    boxes = {i: _box(masks[i]) for i in order}
    joined, kept = list[MaskArray](), list[np.float32]()
    while order:
        first, *others = order
        whole, order = masks[first].copy(), []
        for other in others:
            if _box_iou(boxes[first], boxes[other]) > box_iou and _common(
                masks[first], masks[other], boxes[first]
            ) > containment * min(areas[first], areas[other]):
                whole |= masks[other]
            else:
                order.append(other)
        joined.append(whole)
        kept.append(scores[first])
    shape = (len(joined), *masks.shape[1:])
    return np.array(joined, bool).reshape(shape), np.array(kept, np.float32)


def majority_vote(
    labels: npt.NDArray[Any], regions: RegionMap, unsegmented: int | None = 0
) -> npt.NDArray[Any]:
    """Give every region the label that most of its pixels have.

    Args:
        labels: ``(H, W)`` of any unsigned or signed integers.
        regions: ``(H, W)``.
        unsegmented: the number whose pixels keep their labels; None where all vote.

    Returns:
        ``(H, W)``, of the labels' type; of labels that are equally frequent, the smallest.
    """
    values, label_index = np.unique(labels, return_inverse=True)
    numbers, region_index = np.unique(regions, return_inverse=True)
    pairs = region_index.ravel() * len(values) + label_index.ravel()
    counts = np.bincount(pairs, minlength=len(numbers) * len(values))
    winners = values[counts.reshape(len(numbers), len(values)).argmax(axis=1)]
    voted: npt.NDArray[Any] = winners[region_index].reshape(labels.shape)
    return voted if unsegmented is None else np.where(regions == unsegmented, labels, voted)


def pool(features: Tensor, masks: Tensor) -> Tensor:
    """The mean feature of every region, weighted by how much of a place belongs to it.

    Args:
        features: ``(d, h, w)``.
        masks: ``(n, h, w)``, not negative, on the features' grid.

    Returns:
        ``(n, d)`` of the features' type; zeros for a mask without weight.
    """
    weights = masks.flatten(1).to(features.dtype)
    total = weights.sum(dim=1, keepdim=True)
    sums = weights @ features.flatten(1).mT
    return sums / total.where(total > 0, total.new_ones(()))


def _box(mask: MaskArray) -> tuple[int, int, int, int]:
    """Top, left, and the row and column behind the last."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _box_iou(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    height = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    width = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    both = height * width
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def _common(a: MaskArray, b: MaskArray, box: tuple[int, int, int, int]) -> int:
    """Pixels of both, looked for where the first lies."""
    part = np.s_[box[0] : box[2], box[1] : box[3]]
    return int(np.count_nonzero(a[part] & b[part]))
