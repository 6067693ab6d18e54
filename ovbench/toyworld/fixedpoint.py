"""Integer arithmetic for drawing.

A scene is drawn with integers only: tables are computed once in double precision and
rounded, so that no platform's way of adding floats can move a pixel over a label's edge.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int32]
Bytes: TypeAlias = npt.NDArray[np.uint8]

ONE = 4096
"""What 1.0 is in :func:`rotation`."""

SINE: Ints = np.array([round(127 * math.sin(math.tau * i / 256)) for i in range(256)], np.int32)
"""A sine over one period of 256 steps, -127 to 127."""

_SLOPE = 8

SOFT_SQUARE: Bytes = np.clip(128 + _SLOPE * SINE, 0, 255).astype(np.uint8)
"""A square wave over 256 steps, 0 to 255, with soft edges in place of jagged ones."""


def rotation(degrees: int) -> tuple[int, int]:
    """Cosine and sine in units of 1 / :data:`ONE`."""
    angle = math.radians(degrees)
    return round(ONE * math.cos(angle)), round(ONE * math.sin(angle))
