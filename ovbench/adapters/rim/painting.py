"""From recognised regions, which overlap and leave holes, to a label map."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ovbench.harness.contract.arrays import LabelMap

Overlap: TypeAlias = Literal["smallest", "best_matched", "best_cut"]


def priorities(
    overlap: Overlap,
    masks: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.floating],
    predicted_iou: npt.NDArray[np.floating],
) -> npt.NDArray[np.floating]:
    """What decides between regions that overlap; the largest value wins.

    Args:
        masks: ``(P, H, W)``.
        scores: ``(P,)``, of the label each region got.
        predicted_iou: ``(P,)``, SAM's own estimate.
    """
    if overlap == "smallest":
        areas: npt.NDArray[np.float64] = masks.sum(axis=(1, 2), dtype=np.float64)
        return -areas
    return scores if overlap == "best_matched" else predicted_iou


def paint(
    masks: npt.NDArray[np.bool_],
    labels: npt.NDArray[np.integer],
    priority: npt.NDArray[np.floating],
    *,
    elsewhere: int,
    dtype: np.dtype[np.unsignedinteger],
) -> LabelMap:
    """Give each pixel the label of the region with the highest priority that covers it.

    Args:
        masks: ``(P, H, W)``.
        labels: ``(P,)``.
        priority: ``(P,)``; of equal ones the first wins.
        elsewhere: the label of pixels that no region covers.
    """
    shape = masks.shape[1:]
    answer = np.full(shape, elsewhere, dtype=dtype)
    if len(masks):
        order = np.argsort(-priority, kind="stable")
        ordered = masks[order]
        covered = ordered.any(axis=0)
        answer[covered] = labels[order][ordered.argmax(axis=0)][covered]
    return answer
