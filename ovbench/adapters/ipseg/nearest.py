"""Masks of pixels and masks of places, from one to the other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
"""Of pixels or of a grid's places, ``(H, W)``."""


def nearest(mask: Mask, size: tuple[int, int]) -> Mask:
    """What a mask says at the centres of the places of another size."""
    rows, columns = (
        ((np.arange(wanted) + 0.5) * given / wanted).astype(np.intp)
        for wanted, given in zip(size, mask.shape, strict=True)
    )
    return mask[np.ix_(rows, columns)]
