"""Superpixels of a window, and what its patches say of each (released code, region_pooling)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ovbench.errors import UsageError

_LEAST = torch.finfo(torch.float32).eps


def superpixels(pixels: Tensor, scale: float, sigma: float, smallest: int) -> Tensor:
    """Felzenszwalb's superpixels, by scikit-image.

    Args:
        pixels: ``(3, H, W)`` float32, 0..1.
        scale: more is larger ones.
        sigma: by which pixels are smoothed before.
        smallest: pixels of the smallest.

    Returns:
        ``(H, W)`` int64, the numbers of all from 0 without gaps, on the pixels' device.
    """
    try:
        from skimage.segmentation import felzenszwalb
    except ImportError:
        raise UsageError(
            "regions=superpixels needs scikit-image: pip install 'ovbench[superpixels]'"
        ) from None
    image = pixels.permute(1, 2, 0).cpu().numpy()
    found = felzenszwalb(image, scale=scale, sigma=sigma, min_size=smallest)
    return torch.from_numpy(found.astype(np.int64)).to(pixels.device)


def pooled(features: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of patches over each region, whose mask is resized bilinearly with aligned corners.

    Args:
        features: ``(d, h, w)`` float32.
        regions: ``(H, W)`` int64, from 0 without gaps.

    Returns:
        ``(R, d)``, and ``(R,)`` bool which regions any patch has seen: resizing without averaging
        may miss small ones.
    """
    count = int(regions.max()) + 1
    (top, bottom, down), (left, right, along) = (
        _between(wanted, side, features.device)
        for wanted, side in zip(features.shape[1:], regions.shape, strict=True)
    )
    flat = features.flatten(1).mT
    total = features.new_zeros(count)
    sums = features.new_zeros(count, len(features))
    for rows, high in ((top, 1 - down), (bottom, down)):
        for columns, wide in ((left, 1 - along), (right, along)):
            owner = regions[rows[:, None], columns].flatten()
            weight = (high[:, None] * wide).flatten()
            total.index_add_(0, owner, weight)
            sums.index_add_(0, owner, weight[:, None] * flat)
    return sums / (total + _LEAST)[:, None], total > 0


def _between(wanted: int, side: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Of places along an axis, the two pixels on either side and how near the second is."""
    source = torch.arange(wanted, device=device) * ((side - 1) / max(wanted - 1, 1))
    first = source.long().clamp_(max=side - 1)
    return first, (first + 1).clamp_(max=side - 1), source - first
