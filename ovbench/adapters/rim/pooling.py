"""Masked average pooling: one feature for what a mask covers (paper, equations 4 and 5)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

CHUNK_BYTES = 64 * 2**20
"""Masks held as floating-point numbers at a time; one at least."""


def masked_average(features: Tensor, masks: Tensor) -> Tensor:
    """The mean feature under each mask.

    Args:
        features: ``(D, h, w)``.
        masks: ``(P, H, W)`` bool, at any size.

    Returns:
        ``(P, D)`` float32; zeros for a mask without any pixel.
    """
    weights = grid_weights(masks.to(features.device), (features.shape[1], features.shape[2]))
    total = weights.flatten(1).sum(dim=1, keepdim=True)
    pooled = weights.flatten(1) @ features.float().flatten(1).mT
    return pooled / total.clamp(min=torch.finfo(total.dtype).tiny)


def grid_weights(masks: Tensor, grid: tuple[int, int]) -> Tensor:
    """How much each cell of a grid counts for each mask.

    Masks are resized bilinearly, without averaging, and stay soft. One that is so small that
    this misses it counts for the cell that holds most of it.

    Args:
        masks: ``(P, H, W)`` bool.

    Returns:
        ``(P, *grid)`` float32 in 0..1.
    """
    step = max(1, CHUNK_BYTES // (4 * masks.shape[1] * masks.shape[2]))
    parts = [_chunk_weights(part.float()[:, None], grid) for part in torch.split(masks, step)]
    return torch.cat(parts) if parts else masks.new_zeros((0, *grid), dtype=torch.float32)


def _chunk_weights(masks: Tensor, grid: tuple[int, int]) -> Tensor:
    weights = functional.interpolate(masks, grid, mode="bilinear", align_corners=False)[:, 0]
    missed = weights.flatten(1).sum(dim=1) == 0
    if missed.any():
        share = functional.adaptive_avg_pool2d(masks[missed], grid).flatten(1)
        cell = functional.one_hot(share.argmax(dim=1), share.shape[1])
        weights[missed] = (cell * (share > 0)).reshape(-1, *grid).to(weights.dtype)
    return weights
