"""The things' outlines as tables of signed distances.

A shape lies inside the unit circle, y points down. Its table holds, for points on a grid
around the origin, the signed distance to the outline (negative inside).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ovbench.toyworld.fixedpoint import Ints

Floats: TypeAlias = npt.NDArray[np.float64]
Distance: TypeAlias = Callable[[Floats, Floats], Floats]
Points: TypeAlias = Sequence[tuple[float, float]]

GRID = 384
"""Cells along each side of a table."""

EXTENT = 1.7
"""Half the side of a table, in radii: holds the rotated window of the smallest thing."""

UNIT = 1024
"""What a distance of one radius is in a table."""


def grid() -> tuple[Floats, Floats]:
    """x and y at the centres of a table's cells, in radii, each ``(GRID, GRID)``."""
    axis = ((np.arange(GRID) + 0.5) / GRID * 2 - 1) * EXTENT
    x, y = np.meshgrid(axis, axis)
    return x, y


@cache
def distance_table(name: str) -> Ints:
    """Signed distance to the outline of ``name``, ``(GRID * GRID,)`` in 1 / UNIT radii."""
    return np.rint(UNIT * _SHAPES[name](*grid())).astype(np.int32).ravel()


def _disc(x: Floats, y: Floats, radius: float = 1.0) -> Floats:
    return np.sqrt(x * x + y * y) - radius


def _ring(x: Floats, y: Floats) -> Floats:
    return np.abs(_disc(x, y, 0.74)) - 0.26


def _crescent(x: Floats, y: Floats) -> Floats:
    return np.maximum(_disc(x, y), -_disc(x - 0.48, y + 0.12, 0.74))


def _polygon(points: Points) -> Distance:
    """Distance to a closed polygon: nearest edge, signed by the even-odd rule."""

    def distance(x: Floats, y: Floats) -> Floats:
        nearest: Floats = np.full(x.shape, np.inf)
        inside = np.zeros(x.shape, bool)
        for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]], strict=True):
            ex, ey, px, py = bx - ax, by - ay, x - ax, y - ay
            along = np.clip((px * ex + py * ey) / (ex * ex + ey * ey), 0, 1)
            nearest = np.minimum(nearest, (px - ex * along) ** 2 + (py - ey * along) ** 2)
            if ey != 0:
                inside ^= ((ay > y) != (by > y)) & (px < ex * py / ey)
        signed: Floats = np.sqrt(nearest) * np.where(inside, -1, 1)
        return signed

    return distance


def _corners(radii: Sequence[float]) -> Points:
    """Corners at equal angles around the origin, the first on top."""
    angles = [math.tau * i / len(radii) for i in range(len(radii))]
    return [(r * math.sin(a), -r * math.cos(a)) for r, a in zip(radii, angles, strict=True)]


def _heart() -> Points:
    """The well-known sine curve of a heart, scaled into the unit circle."""
    curve = []
    for i in range(64):
        t = math.tau * i / 64
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        curve.append((16 * math.sin(t) ** 3 / 18, (-y - 2) / 18))
    return curve


_SQUARE = [(-0.73, -0.73), (0.73, -0.73), (0.73, 0.73), (-0.73, 0.73)]
_CROSS = [
    (-0.34, -0.94), (0.34, -0.94), (0.34, -0.34), (0.94, -0.34), (0.94, 0.34), (0.34, 0.34),
    (0.34, 0.94), (-0.34, 0.94), (-0.34, 0.34), (-0.94, 0.34), (-0.94, -0.34), (-0.34, -0.34),
]  # fmt: skip
_ARROW = [
    (1.0, 0.0), (0.1, -0.82), (0.1, -0.36), (-0.92, -0.36),
    (-0.92, 0.36), (0.1, 0.36), (0.1, 0.82),
]  # fmt: skip
_DIAMOND = [(0.0, -1.0), (0.68, 0.0), (0.0, 1.0), (-0.68, 0.0)]

_SHAPES: dict[str, Distance] = {
    "circle": _disc,
    "square": _polygon(_SQUARE),
    "triangle": _polygon(_corners([1.0, 1.0, 1.0])),
    "star": _polygon(_corners([1.0, 0.5] * 5)),
    "cross": _polygon(_CROSS),
    "ring": _ring,
    "heart": _polygon(_heart()),
    "crescent": _crescent,
    "arrow": _polygon(_ARROW),
    "diamond": _polygon(_DIAMOND),
}
