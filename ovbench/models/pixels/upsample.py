"""From a small map of scores per query to a label map at full size."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ovbench.harness.contract.arrays import LabelMap

CPU_BYTES = 4 * 2**20
"""Full-size scores held at a time on a CPU: what its caches keep (measured; a row at least)."""

GPU_BYTES = 64 * 2**20
"""The same on a GPU, where a few large steps are faster than many small ones."""


def label_map(
    scores: Tensor,
    labels: npt.NDArray[np.integer[Any]],
    size: tuple[int, int],
    *,
    dtype: np.dtype[np.unsignedinteger[Any]],
    softmax_scale: float = 1.0,
    background_below: float | None = None,
) -> LabelMap:
    """The label of the strongest query at every pixel.

    Scores are enlarged bilinearly (``align_corners=False``) before they are compared, a few
    rows at a time: the full-size scores of all queries never exist together. A label with
    several queries counts as its strongest one.

    Args:
        scores: ``(Q, h, w)`` float; queries that are not allowed must be left out.
        labels: ``(Q,)``, the label each query stands for.
        size: height and width of the result.
        dtype: of the result.
        softmax_scale: factor before the softmax over all queries; only used with
            ``background_below``, since a softmax does not change which query is strongest.
        background_below: a pixel whose strongest query has a lower softmax probability
            gets label 0.

    Returns:
        ``size``; 0 everywhere when there is no query.
    """
    if not len(scores):
        return np.zeros(size, dtype=dtype)
    height, width = size
    table = torch.as_tensor(labels.astype(np.int32), device=scores.device)
    result = torch.empty(size, dtype=torch.int32, device=scores.device)
    # Enlarged scores, and with a threshold their differences and exponentials.
    row_bytes = len(scores) * width * 4 * (1 if background_below is None else 3)
    step = max(1, (CPU_BYTES if scores.device.type == "cpu" else GPU_BYTES) // row_bytes)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        rows = _enlarged_rows(scores.float(), size, top, bottom)
        best, query = rows.max(dim=0)
        label = table[query]
        if background_below is not None:
            mass = ((rows - best) * softmax_scale).exp_().sum(dim=0)
            label[1 / mass < background_below] = 0
        result[top:bottom] = label
    return result.cpu().numpy().astype(dtype)


def _enlarged_rows(scores: Tensor, size: tuple[int, int], top: int, bottom: int) -> Tensor:
    """Rows ``top:bottom`` of the bilinearly resized ``scores``; ``(Q, bottom - top, W)``."""
    height, width = size
    centres = torch.arange(top, bottom, device=scores.device, dtype=torch.float32) + 0.5
    source = (centres * (scores.shape[1] / height) - 0.5).clamp_(min=0)
    above = source.long()
    below = (above + 1).clamp_(max=scores.shape[1] - 1)
    weight = (source - above)[None, :, None]
    rows = torch.lerp(scores[:, above], scores[:, below], weight)
    # Same height in and out: only the width is interpolated here.
    return functional.interpolate(
        rows[None], (bottom - top, width), mode="bilinear", align_corners=False
    )[0]
