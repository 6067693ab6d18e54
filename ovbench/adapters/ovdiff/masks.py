"""Where a support picture shows its class, and where surely not (paper, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from ovbench.adapters.ovdiff.multi_otsu import multi_otsu

AttributionRule: TypeAlias = Literal["mean", "released_code"]
MaskRule: TypeAlias = Literal["equation_1", "released_code", "whole"]
Mask: TypeAlias = npt.NDArray[np.bool_]
Maps: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Cuts:
    """Thresholds on attribution, which lies in 0..1 within each picture.

    Attributes:
        foreground: above it a pixel is foreground where there are no proposals.
        background: below it a pixel is background there.
    """

    foreground: float
    background: float


class RegionMasks(NamedTuple):
    """The foreground and the background of some pictures of one class.

    Attributes:
        foreground, background: ``(N, H, W)`` bool; either may be empty in a picture.
    """

    foreground: Mask
    background: Mask


def rescaled(attribution: Maps) -> Maps:
    """Each picture's map brought to 0..1; ``(N, h, w)``. A constant map becomes 0."""
    low = attribution.min(axis=(1, 2), keepdims=True)
    span = attribution.max(axis=(1, 2), keepdims=True) - low
    found: Maps = (attribution - low) / np.where(span > 0, span, 1)
    return found


def enlarged(attribution: Maps, size: tuple[int, int]) -> Maps:
    """Maps ``(N, h, w)`` resized to the pictures, ``(N, H, W)``; bilinear."""
    maps = torch.from_numpy(attribution)[:, None]
    resized = functional.interpolate(maps, size, mode="bilinear", align_corners=False)
    found: Maps = resized[:, 0].numpy()
    return found


def with_background_mask(instances: Mask) -> Mask:
    """The non-empty ones of ``(R, H, W)`` masks, then what all of them leave over, if anything."""
    instances = instances[instances.any(axis=(1, 2))]
    rest: Mask = ~np.any(instances, axis=0, keepdims=True)
    return np.concatenate([instances, rest]) if rest.any() else instances


def choose(attribution: Maps, instances: Mask, rule: MaskRule, cuts: Cuts) -> tuple[Mask, Mask]:
    """Foreground and background of one picture among proposals; ``(H, W)`` bool each.

    Equation 1 takes the masks of highest and lowest mean attribution. The released code first
    gives every pixel to the mask of highest attribution that holds it, and narrows the
    background: it leaves out what attention finds and what touches other masks. One mask alone
    is foreground (our choice: it cannot be both).

    Args:
        attribution: ``(H, W)``, in 0..1.
        instances: ``(R, H, W)``; without any, attribution alone decides.
    """
    if not instances.any():
        return attribution > cuts.foreground, attribution < cuts.background
    masks = with_background_mask(instances)
    areas = masks.sum(axis=(1, 2))
    means = np.einsum("rhw,hw->r", masks, attribution.astype(np.float64)) / areas
    best, worst = int(means.argmax()), int(means.argmin())
    nothing = np.zeros_like(masks[0])
    if rule == "equation_1":
        return masks[best], masks[worst] if worst != best else nothing
    order = np.argsort(-means, kind="stable")
    disjoint = _disjoint(masks[order])
    background = disjoint[-1] if len(disjoint) > 1 else nothing
    return disjoint[0], _eroded(background & (attribution < cuts.background))


def _disjoint(masks: Mask) -> Mask:
    """Masks without what earlier ones hold; those of which nothing is left are dropped."""
    taken = np.logical_or.accumulate(masks, axis=0)
    left = masks.copy()
    left[1:] &= ~taken[:-1]
    kept: Mask = left[left.any(axis=(1, 2))]
    return kept


def _eroded(mask: Mask) -> Mask:
    """Without the pixels that have one outside above, below, left or right of them."""
    from scipy.ndimage import binary_erosion

    found: Mask = binary_erosion(mask, border_value=1)  # as scikit-image's, at the border too
    return found


def by_attribution(
    attribution: npt.NDArray[np.floating[Any]], cuts: Cuts, fine: Maps | None = None
) -> RegionMasks:
    """Without proposals: Otsu's thresholds over all maps of a class, the variant "-CutLER".

    Args:
        attribution: ``(N, h, w)``, in 0..1 within each picture.
        cuts: taken where the values are too few for Otsu's method.
        fine: the same maps at the pictures' size, ``(N, H, W)``, to which the released code
            applies the thresholds; without them the masks have the size of the maps.
    """
    found = multi_otsu(attribution)
    maps = attribution if fine is None else fine
    if found is None:
        return RegionMasks(maps > cuts.foreground, maps < cuts.background)
    low, high = found
    above = maps >= high if fine is None else maps > high
    return RegionMasks(above, maps < low)
