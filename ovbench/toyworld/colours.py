"""Colours and colour ramps."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ovbench.toyworld.dice import Dice

HSV: TypeAlias = tuple[int, int, int]
"""Hue in degrees, saturation and value in percent."""

Ramp: TypeAlias = npt.NDArray[np.int16]
"""RGB for each of 256 brightness values, ``(256, 3)`` int16."""


def rgb(colour: HSV) -> list[int]:
    """The colour as three numbers from 0 to 255; saturation and value are clipped."""
    hue, saturation, value = colour
    channels = colorsys.hsv_to_rgb(
        hue % 360 / 360, min(max(saturation, 0), 100) / 100, min(max(value, 0), 100) / 100
    )
    return [round(255 * channel) for channel in channels]


def jitter(colour: HSV, dice: Dice, hue: int, rest: int = 8) -> HSV:
    """The colour moved by up to ``hue`` degrees and ``rest`` percent."""
    moves = dice.between(-hue, hue), dice.between(-rest, rest), dice.between(-rest, rest)
    return colour[0] + moves[0], colour[1] + moves[1], colour[2] + moves[2]


def ramp(stops: Sequence[tuple[int, HSV]]) -> Ramp:
    """Colours between stops at ascending brightness values, the first at 0, the last at 255."""
    table = np.empty((256, 3), np.int16)
    for (low, dark), (high, light) in pairwise(stops):
        steps = np.arange(high - low + 1, dtype=np.int32)[:, None]
        start, end = np.array(rgb(dark), np.int32), np.array(rgb(light), np.int32)
        table[low : high + 1] = start + (end - start) * steps // (high - low)
    return table
