"""Masks of pixels and masks of places, from one to the other."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
"""Of pixels or of a grid's places, ``(H, W)``."""


def nearest(
    mask: Mask, size: tuple[int, int], at: Literal["centres", "corners"] = "centres"
) -> Mask:
    """What a mask says at the centres, or the first corners, of the places of another size."""
    shift = 0.5 if at == "centres" else 0.0
    rows, columns = (
        ((np.arange(wanted) + shift) * given / wanted).astype(np.intp)
        for wanted, given in zip(size, mask.shape, strict=True)
    )
    return mask[np.ix_(rows, columns)]
