"""How strong something is in a picture, in colours that grow brighter."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from ovbench.drawing.colours import RGB
from ovbench.drawing.pictures import Box, fitted
from ovbench.harness.contract.arrays import Image

WEAK: RGB = (15, 15, 60)
STRONG: RGB = (255, 245, 160)
# From weak to strong in equal steps, ever brighter: it can be read in grey, too.
_SCALE = np.array([WEAK, (110, 25, 110), (205, 65, 75), (250, 150, 40), STRONG], dtype=np.float32)


def heat(image: Image, strength: npt.NDArray[np.float32], box: Box) -> Pillow.Image:
    """The strength in colour over the faint grey picture.

    Args:
        strength: ``(h, w)`` float32, 0..1; on any grid that covers the picture.
    """
    picture = fitted(image, box)
    grey = np.asarray(picture.convert("L"), dtype=np.float32)[..., None]
    fine = Pillow.fromarray(strength).resize(picture.size, Pillow.Resampling.BILINEAR)
    place = np.asarray(fine) * (len(_SCALE) - 1)
    below = np.clip(place.astype(int), 0, len(_SCALE) - 2)
    share = (place - below)[..., None]
    colours = (1 - share) * _SCALE[below] + share * _SCALE[below + 1]
    return Pillow.fromarray((0.75 * colours + 0.25 * grey).astype(np.uint8))
