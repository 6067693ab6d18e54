"""The losses of the miniature SAM: of Kirillov et al. (ICCV 2023), and one to begin with."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

RECIPE: dict[str, Any] = {
    "focal_weight": 20.0,
    "focal_gamma": 2.0,
    "dice_weight": 1.0,
    "iou_weight": 1.0,
}


def shrink(masks: npt.NDArray[np.bool_], size: tuple[int, int]) -> Tensor:
    """The share of each cell that a mask covers, ``(n, H, W)`` to ``(n, *size)`` float32."""
    return F.interpolate(torch.from_numpy(masks)[:, None].float(), size, mode="area")[:, 0]


def grouping_loss(features: Tensor, target: Tensor) -> Tensor:
    """Patches of an object should be alike in the image embedding and unlike the others.

    Args:
        features: ``(n, C, h, w)``, the image embedding, once per object.
        target: ``(n, 4 * h, 4 * w)`` in 0..1, the object.
    """
    cover = F.avg_pool2d(target[:, None], 4).flatten(2)
    patches = F.normalize(features.float().flatten(2), dim=1)
    middle = F.normalize((patches * cover).sum(dim=2), dim=1)
    alike = torch.einsum("nc,nck->nk", middle, patches)
    return F.binary_cross_entropy_with_logits(10 * (alike - 0.5), cover[:, 0])


def mask_loss(logits: Tensor, iou: Tensor, target: Tensor) -> Tensor:
    """Of the single mask, of the best of the other three, and of the quality they claim.

    Args:
        logits: ``(n, 4, h, w)``; ``iou`` is ``(n, 4)``.
        target: ``(n, h, w)`` in 0..1.
    """
    truth = target[:, None].expand_as(logits)
    error = RECIPE["focal_weight"] * _focal(logits, truth)
    error = error + RECIPE["dice_weight"] * _dice(logits, truth)
    quality = F.mse_loss(iou, _iou(logits, truth))
    best = error[:, 1:].amin(dim=1)
    total: Tensor = error[:, 0].mean() + best.mean() + RECIPE["iou_weight"] * quality
    return total


def _focal(logits: Tensor, truth: Tensor) -> Tensor:
    """Focal loss (Lin et al., ICCV 2017), mean over the pixels of each mask."""
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    missed = (logits.sigmoid() - truth).abs()
    weighted: Tensor = entropy * missed ** RECIPE["focal_gamma"]
    return weighted.flatten(2).mean(dim=2)


def _dice(logits: Tensor, truth: Tensor) -> Tensor:
    guess, truth = logits.sigmoid().flatten(2), truth.flatten(2)
    both = 2 * (guess * truth).sum(dim=2)
    return 1 - (both + 1) / (guess.sum(dim=2) + truth.sum(dim=2) + 1)


def _iou(logits: Tensor, truth: Tensor) -> Tensor:
    """The IoU of each mask with its object."""
    seen, there = logits > 0, truth > 0.5
    both = (seen & there).flatten(2).sum(dim=2)
    return both / (seen | there).flatten(2).sum(dim=2).clamp(min=1)
