"""From scores per query to a label map at full size."""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ovbench.harness.contract.arrays import LabelMap
from ovbench.models.pixels.scores import Scores


def label_map(
    maps: Tensor,
    labels: npt.NDArray[np.integer[Any]],
    size: tuple[int, int],
    *,
    dtype: np.dtype[np.unsignedinteger[Any]],
    softmax_scale: float = 1.0,
    background_below: float | None = None,
) -> LabelMap:
    """:func:`decide` for maps ``(Q, h, w)`` that are resized bilinearly to ``size`` first."""
    return decide(
        Scores.enlarged(maps, size),
        labels,
        dtype=dtype,
        softmax_scale=softmax_scale,
        background_below=background_below,
    )


def decide(
    scores: Scores,
    labels: npt.NDArray[np.integer[Any]],
    *,
    dtype: np.dtype[np.unsignedinteger[Any]],
    softmax_scale: float = 1.0,
    background_below: float | None = None,
    area_share: float | None = None,
) -> LabelMap:
    """The label of the strongest query at every pixel.

    The full-size scores of all queries never exist together; besides a strip of them, three
    float32 planes of full size do. A label with several queries counts as its strongest one.

    Args:
        scores: of Q queries; those that are not allowed must be left out.
        labels: ``(Q,)``, the label each query stands for.
        dtype: of the result.
        softmax_scale: factor before the softmax over all queries; only used with
            ``background_below``, since a softmax does not change which query is strongest.
        background_below: a pixel whose strongest query has a lower softmax probability
            gets label 0.
        area_share: a label but 0 is left out where it is the strongest at no more than this
            share of the pixels at which some label but 0 is. Its pixels go to the strongest of
            the others; the softmax still runs over all queries.

    Returns:
        The scores' size; 0 everywhere when there is no query.
    """
    if not len(scores.maps):
        return np.zeros(scores.size, dtype=dtype)
    table = torch.as_tensor(labels.astype(np.int32), device=scores.maps.device)
    best, query, total = _strongest(scores, None if background_below is None else softmax_scale)
    label = table[query]
    if area_share is not None:
        counts = torch.bincount(label.flatten(), minlength=int(labels.max()) + 1)
        kept = _large_enough(counts, area_share)[table.long()]
        if kept.any() and not kept.all():
            best, query, _ = _strongest(scores.of(kept), None)
            label = table[kept][query]
    if total is not None and background_below is not None:
        label[(best * softmax_scale - total).exp_() < background_below] = 0
    return label.cpu().numpy().astype(dtype)


def _strongest(scores: Scores, scale: float | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """The best score at every pixel, which query has it, and with a scale the log-sum-exp."""
    device = scores.maps.device
    best = torch.full(scores.size, -torch.inf, device=device)
    query = torch.zeros(scores.size, dtype=torch.int32, device=device)
    mass = torch.zeros(scores.size, device=device)
    for first, top, values in scores.strips():
        rows = slice(top, top + len(values))
        strongest, place = values.max(dim=1)
        before = best[rows].clone()
        torch.maximum(before, strongest, out=best[rows])
        query[rows] = torch.where(strongest > before, place.int() + first, query[rows])
        if scale is not None:
            now, power = best[rows], scale / log(2)  # powers of two are found twice as fast
            added = (values - now[:, None]).mul_(power).exp2_().sum(dim=1)
            mass[rows] = mass[rows] * ((before - now) * power).exp2_() + added
    return best, query, None if scale is None else mass.log_().add_(best * scale)


def _large_enough(counts: Tensor, share: float) -> Tensor:
    """Which labels cover enough of the foreground; from ``(L,)`` pixels, 0 always does."""
    counts[0] = 0
    kept = counts > share * counts.sum()
    kept[0] = True
    return kept
