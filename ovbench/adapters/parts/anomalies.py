"""Patches whose tokens say little of their place, and what is put there instead.

Late blocks of CLIP keep what they know of the whole image in a few patches. Bai et al.'s SC-CLIP
finds them as outliers among the tokens, Jin et al.'s SFP by the attention that the class token pays
them. Every function treats each image of a batch by itself.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_TINY = 1e-12


def by_density(patches: Tensor, *, neighbours: int, share: float) -> Tensor:
    """Those that lie apart from what lies around them: a local outlier factor.

    A patch's distance is the squared one to its furthest neighbour; its factor is that, times the
    mean of its neighbours' inverse ones. (The released code takes, for every neighbour, the larger
    of its distance and the patch's own furthest one, which is always the latter; in the textbook
    it is the neighbour's own.)

    Args:
        patches: ``(B, n, d)``.
        neighbours: of every patch, itself not counted; where there are fewer, all.
        share: of the patches, those with the largest factors.

    Returns:
        ``(B, n)`` bool.
    """
    places = patches.float()
    # Not by matrix products: a few of CLIP's channels are so large that little would be left.
    distances = torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist").square()
    nearest = distances.topk(min(neighbours + 1, places.shape[1]), largest=False)
    furthest = nearest.values[..., -1].clamp_min(_TINY)
    around = nearest.indices[..., 1:]
    inverse = furthest.reciprocal()[:, None].expand_as(distances).gather(2, around)
    factors = furthest * inverse.mean(dim=-1)
    return factors > factors.quantile(1 - share, dim=-1, keepdim=True)


def by_attention(weights: Tensor, *, factor: float, most: int) -> Tensor:
    """Those that the class token looks at more than they look at themselves.

    Args:
        weights: ``(B, heads, 1 + n, 1 + n)`` after the softmax, the class token first; the mean
            over the heads decides.
        factor: on the class token's weights, before the comparison.
        most: so many at most, those with the largest weights.

    Returns:
        ``(B, n)`` bool.
    """
    mean = weights.float().mean(dim=1)
    seen = mean[:, 0, 1:] * factor
    candidates = seen > mean.diagonal(dim1=1, dim2=2)[:, 1:]
    return _largest(seen.masked_fill(~candidates, -torch.inf), most) & candidates


def by_norm(patches: Tensor, *, most: int) -> Tensor:
    """The longest tokens of ``(B, n, d)``, so many of them; ``(B, n)`` bool."""
    return _largest(patches.float().norm(dim=-1), most)


def _largest(values: Tensor, most: int) -> Tensor:
    places = values.topk(min(most, values.shape[1])).indices
    return torch.zeros_like(values, dtype=torch.bool).scatter_(1, places, True)


def filled(patches: Tensor, anomalous: Tensor, grid: tuple[int, int]) -> Tensor:
    """Every anomalous patch becomes the mean of those around it that are not anomalous.

    Args:
        patches: ``(B, h * w, d)``, row by row.
        anomalous: ``(B, h * w)`` bool.
        grid: rows and columns, ``(h, w)``.

    Returns:
        ``(B, h * w, d)``. One without any such neighbour stays as it is, of up to eight; SFP's
        released code makes it zero, and of its direction no number.
    """
    sound = (~anomalous)[..., None].to(patches.dtype)
    planes = torch.cat([patches * sound, sound], dim=2).mT.reshape(len(patches), -1, *grid)
    # The patch itself is in the window, but an anomalous one is zero in both sums.
    sums = functional.avg_pool2d(planes, 3, stride=1, padding=1, divisor_override=1)
    sums = sums.flatten(2).mT
    total, count = sums[..., :-1], sums[..., -1:]
    mended = anomalous[..., None] & (count > 0)
    return torch.where(mended, total / count.clamp_min(1), patches)
