"""Support pictures on one page, each with where its name acts in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from ovbench.drawing.heat import STRONG, WEAK, heat
from ovbench.drawing.pictures import fitted, outlined
from ovbench.drawing.sheet import TILE, Strip, page_of
from ovbench.support.sets import SupportSet


def support_sheet(sets: Sequence[SupportSet], threshold: float) -> Pillow.Image:
    """Draw each picture, its attribution from weakest to strongest, and the mask of that.

    Args:
        sets: at least one.
        threshold: the mask is where the attribution, from 0 to 1 over its picture, is above.
    """
    strips = [
        _strip(image, _stretched(attribution), threshold, f"{found.name} {index}")
        for found in sets
        for index, (image, attribution) in enumerate(
            zip(found.images, found.attribution, strict=True)
        )
    ]
    return page_of(strips, {"weakest attribution": WEAK, "strongest": STRONG})


def _strip(
    image: npt.NDArray[np.uint8],
    strength: npt.NDArray[np.float32],
    threshold: float,
    caption: str,
) -> Strip:
    size = image.shape[1], image.shape[0]
    fine = np.asarray(Pillow.fromarray(strength).resize(size, Pillow.Resampling.BILINEAR))
    pictures = [
        fitted(image, TILE),
        heat(image, strength, TILE),
        outlined(image, fine > threshold, TILE),
    ]
    return Strip(pictures, f"{caption}: {(fine > threshold).mean():.0%} above {threshold:g}")


def _stretched(attribution: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """From 0 to 1; a map without any differences is 0."""
    low, high = attribution.min(), attribution.max()
    stretched: npt.NDArray[np.float32] = (attribution - low) / max(high - low, np.float32(1e-30))
    return stretched
