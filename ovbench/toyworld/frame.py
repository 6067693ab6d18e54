"""A thing's own coordinates: a rotated window of pixels around its centre."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from ovbench.toyworld.fixedpoint import ONE, Ints, rotation
from ovbench.toyworld.shapes import EXTENT, GRID, UNIT, grid

PIXEL = 256
"""What one pixel is in :attr:`Frame.u`."""

MARGIN = 2
"""Pixels of a window beyond the radius, for the softened edge."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A square window of ``2 * (radius + MARGIN) + 1`` pixels, seen by the thing in it.

    Attributes:
        u: to the thing's right, in 1 / PIXEL pixels from its centre.
        v: downwards for the thing, likewise.
        cell: index into the tables of :mod:`ovbench.toyworld.shapes`.
        radius: in pixels.
    """

    u: Ints
    v: Ints
    cell: Ints
    radius: int

    @classmethod
    def of(cls, radius: int, degrees: int) -> Frame:
        """The window of a thing turned clockwise by ``degrees``."""
        cosine, sine = rotation(degrees)
        x = np.arange(-radius - MARGIN, radius + MARGIN + 1, dtype=np.int32)
        y = x[:, None]
        u = (x * cosine + y * sine) // (ONE // PIXEL)
        v = (y * cosine - x * sine) // (ONE // PIXEL)
        scale = round(GRID * 65536 / (2 * EXTENT * PIXEL * radius))
        column, row = (u * scale >> 16) + GRID // 2, (v * scale >> 16) + GRID // 2
        return cls(u, v, row * GRID + column, radius)

    @property
    def turn(self) -> Ints:
        """Direction from the centre, 0 to 255 for a full turn."""
        return _polar()[0][self.cell]

    @property
    def reach(self) -> Ints:
        """Distance from the centre, in 1 / PIXEL pixels."""
        return _polar()[1][self.cell] * self.radius // (UNIT // PIXEL)


@cache
def _polar() -> tuple[Ints, Ints]:
    """Direction (256 steps) and distance (1 / UNIT radii) for each cell of a table."""
    x, y = grid()
    turn = np.rint(np.arctan2(y, x) * (256 / math.tau)).astype(np.int32) & 255
    return turn.ravel(), np.rint(UNIT * np.sqrt(x * x + y * y)).astype(np.int32).ravel()
