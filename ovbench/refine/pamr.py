"""Pixel-adaptive mask refinement: scores that follow the colours of an image.

Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels" (CVPR 2020), section
3.4; code: visinf/1-stage-wseg, models/mods/pamr.py. TCL and OVDiff refine with 10 iterations
and the dilations 1, 2, 4, 8, 12 and 24.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

_CHUNK_BYTES = 2**26
"""Scores that are refined at a time."""

_SHARPNESS = 0.1
_TINY = 1e-8


@torch.no_grad()
def pamr(
    image: Tensor,
    scores: Tensor,
    *,
    iterations: int = 10,
    dilations: Sequence[int] = (1, 2, 4, 8, 12, 24),
) -> Tensor:
    """Replace each pixel's scores by those of its neighbours that look like it, again and again.

    A pixel has 8 neighbours per dilation; beyond an edge stand copies of the edge. A neighbour's
    weight is the softmax, over all of them, of minus the absolute difference in colour, divided
    by a tenth of the standard deviation of the neighbourhood, the mean over the channels.

    At its peak it holds, besides its arguments and its result, one float32 plane of the
    image's size per neighbour (48 with the dilations above: 50 MB for 512 x 512 pixels), which
    all classes share, and less than four times 64 MiB, or four planes if these are larger. The
    time grows with classes x neighbours x iterations.

    Args:
        image: ``(K, H, W)`` float32; its scale and offset have no effect.
        scores: ``(C, H, W)`` float32 on the same device.
        dilations: in pixels, at least one.

    Returns:
        ``(C, H, W)`` float32; every value lies within what its class had before.
    """
    if image.shape[1:] != scores.shape[1:]:
        raise ValueError(f"image {tuple(image.shape)} and scores {tuple(scores.shape)}")
    weights = _weights(image, dilations)
    # Each class is refined by itself: the weights are the image's alone.
    size = max(1, _CHUNK_BYTES // (scores[0].numel() * scores.element_size()))
    refined = torch.empty_like(scores)
    for start in range(0, len(scores), size):
        part = scores[start : start + size]
        for _ in range(iterations):
            part = _step(part, weights, dilations)
        refined[start : start + size] = part
    return refined


def _step(scores: Tensor, weights: Tensor, dilations: Sequence[int]) -> Tensor:
    mixed = torch.zeros_like(scores)
    for weight, shifted in zip(weights, _neighbours(scores, dilations), strict=True):
        mixed.addcmul_(weight, shifted)
    return mixed


def _weights(image: Tensor, dilations: Sequence[int]) -> Tensor:
    """Of each neighbour of each pixel, ``(P, H, W)``; they sum to 1."""
    scale = _SHARPNESS * _deviation(image, dilations) + _TINY
    weights = torch.empty((8 * len(dilations), *image.shape[1:]), device=image.device)
    for weight, shifted in zip(weights, _neighbours(image, dilations), strict=True):
        torch.mean((image - shifted).abs_().div_(scale).neg_(), dim=0, out=weight)
    # As softmax would, but in place.
    weights.sub_(weights.amax(dim=0)).exp_()
    return weights.div_(weights.sum(dim=0))


def _deviation(image: Tensor, dilations: Sequence[int]) -> Tensor:
    """Of the colours around each pixel, ``(K, H, W)``; the pixel counts once per dilation."""
    count = 9 * len(dilations)
    mean = image * len(dilations)
    for shifted in _neighbours(image, dilations):
        mean += shifted
    mean /= count
    squares = (image - mean).square_().mul_(len(dilations))
    for shifted in _neighbours(image, dilations):
        squares += (shifted - mean).square_()
    return squares.div_(count - 1).sqrt_()


def _neighbours(planes: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """The planes as seen from each pixel's neighbours, ``(C, H, W)``, views of one copy."""
    height, width = planes.shape[1:]
    # Beyond the longer side everything is a copy of the edge, however far away.
    steps = [min(dilation, max(height, width)) for dilation in dilations]
    margin = max(steps)
    padded = functional.pad(planes[None], [margin] * 4, mode="replicate")[0]
    for dilation in steps:
        for down, right in product((-dilation, 0, dilation), repeat=2):
            if down or right:
                top, left = margin + down, margin + right
                yield padded[:, top : top + height, left : left + width]
