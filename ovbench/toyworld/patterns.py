"""The things' patterns: what carries the class besides the outline.

A pattern maps a :class:`Frame` and a period (pixels) to brightness, 0 to 255, which a ramp
between the thing's two colours turns into a picture. Patterns are coarse (6 pixels and
more), so that they survive an autoencoder or a ViT's patches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from ovbench.toyworld.colours import HSV
from ovbench.toyworld.fixedpoint import SOFT_SQUARE, Bytes, Ints
from ovbench.toyworld.frame import Frame

Pattern: TypeAlias = Callable[[Frame, int], Bytes]

PALETTES: dict[str, tuple[HSV, HSV]] = {
    "circle": ((2, 85, 80), (40, 18, 98)),
    "square": ((225, 75, 45), (48, 80, 98)),
    "triangle": ((28, 92, 95), (330, 60, 40)),
    "star": ((50, 88, 98), (14, 85, 82)),
    "cross": ((172, 80, 58), (60, 14, 98)),
    "ring": ((312, 72, 72), (200, 12, 98)),
    "heart": ((344, 78, 86), (340, 24, 98)),
    "crescent": ((262, 68, 60), (190, 35, 98)),
    "arrow": ((128, 75, 48), (78, 65, 95)),
    "diamond": ((204, 85, 78), (175, 28, 98)),
}
"""The two colours of each thing, before jitter."""


def _wave(position: Ints, period: int) -> Bytes:
    """A soft square wave along ``position`` (1 / PIXEL pixels)."""
    return SOFT_SQUARE.take(position // period & 255)


def _stripes(frame: Frame, period: int) -> Bytes:
    return _wave(frame.u + frame.v // 2, period)


def _chequers(frame: Frame, period: int) -> Bytes:
    across, down = _wave(frame.u, period).astype(np.int32), _wave(frame.v, period)
    mixed: Bytes = ((across * (255 - down) + (255 - across) * down) // 255).astype(np.uint8)
    return mixed


def _dots(frame: Frame, period: int) -> Bytes:
    across, down = (frame.u // period & 255) - 128, (frame.v // period & 255) - 128
    height = (84 * 84 - across * across - down * down) // 16 + 128
    dots: Bytes = np.clip(height, 0, 255).astype(np.uint8)
    return dots


def _rays(frame: Frame, period: int) -> Bytes:
    return SOFT_SQUARE.take((frame.turn * 5 + 64) & 255)


def _lattice(frame: Frame, period: int) -> Bytes:
    across, down = _wave(frame.u + frame.v, period), _wave(frame.u - frame.v, period)
    return np.minimum(across, down)


def _segments(frame: Frame, period: int) -> Bytes:
    return SOFT_SQUARE.take(frame.turn * 8 & 255)


def _zigzag(frame: Frame, period: int) -> Bytes:
    fold = np.abs((frame.u // period & 255) - 128) * period // 2
    return _wave(frame.v + fold, period)


def _arcs(frame: Frame, period: int) -> Bytes:
    return _wave(frame.reach, period)


def _chevrons(frame: Frame, period: int) -> Bytes:
    return _wave(frame.u + np.abs(frame.v), period)


def _nest(frame: Frame, period: int) -> Bytes:
    return _wave(np.abs(frame.u) + np.abs(frame.v) * 2 // 3, period)


PATTERNS: dict[str, Pattern] = {
    "circle": _stripes,
    "square": _chequers,
    "triangle": _dots,
    "star": _rays,
    "cross": _lattice,
    "ring": _segments,
    "heart": _zigzag,
    "crescent": _arcs,
    "arrow": _chevrons,
    "diamond": _nest,
}
