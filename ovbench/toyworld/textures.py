"""The stuff textures: brightness from 0 to 255 for a whole scene, and its colours.

Textures are told apart by their pattern (upright blades, waves, grain, courses of bricks,
soft clouds); their hue is typical half of the time and anything otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ovbench.toyworld.colours import Ramp, ramp
from ovbench.toyworld.dice import Dice
from ovbench.toyworld.fixedpoint import ONE, SINE, Bytes, Ints
from ovbench.toyworld.world import SIZE

Texture: TypeAlias = Callable[[Dice], Bytes]

_X: Ints = np.arange(SIZE, dtype=np.int32)
_Y: Ints = _X[:, None]


def _blend(cells: int) -> npt.NDArray[np.float64]:
    """Smooth interpolation from ``cells + 1`` knots, ``(SIZE, cells + 1)``, in 1 / ONE.

    Whole numbers in double precision: products with it are exact, whatever adds them up.
    """
    place = np.arange(SIZE)[:, None] * cells / SIZE
    near = np.maximum(1 - np.abs(place - np.arange(cells + 1)), 0)
    weights: npt.NDArray[np.float64] = np.rint(ONE * near * near * (3 - 2 * near))
    return weights


_BLADES, _CLOUDS = _blend(7), _blend(5)
_CREST: Bytes = ((SINE + 127) ** 2 // 256).astype(np.uint8)


def _grass(dice: Dice) -> Bytes:
    """Upright blades, two pixels wide, that lean to one side."""
    blades: Bytes = (_BLADES @ dice.noise(8, 64) // (ONE + 4)).astype(np.uint8)
    lean = dice.between(-3, 3)
    column: Ints = (_X + (_Y * lean >> 3)) // 2 & 63
    field: Bytes = blades[_Y, column]
    return field


def _water(dice: Dice) -> Bytes:
    """Level waves with bright crests."""
    swell = SINE[(_X * dice.between(5, 9) + dice.below(256)) & 255]
    phase: Ints = _Y * dice.between(20, 30) + swell // 2 + dice.below(256)
    return _CREST.take(phase & 255)


def _sand(dice: Dice) -> Bytes:
    """Grain of single pixels."""
    return dice.noise(SIZE, SIZE)


def _brick(dice: Dice) -> Bytes:
    """Courses of bricks, each brick in its own shade; mortar is 255."""
    height, width = dice.between(8, 11), dice.between(16, 22)
    y, x = _Y + dice.below(height), _X + dice.below(width)
    course = y // height
    x = x + (course & 1) * (width // 2)
    wall = (dice.noise(16, 8) // 4 * 3)[course, x // width]
    wall[(y % height < 2) | (x % width < 2)] = 255
    return wall


def _sky(dice: Dice) -> Bytes:
    """Soft clouds, paler towards the horizon."""
    knots = dice.noise(8, 8)[:6, :6]
    clouds: Ints = (_CLOUDS @ knots @ _CLOUDS.T // (ONE * ONE)).astype(np.int32)
    heaven: Bytes = np.clip((clouds - 110) * 2 + _Y, 0, 255).astype(np.uint8)
    return heaven


TEXTURES: dict[str, Texture] = {
    "grass": _grass,
    "water": _water,
    "sand": _sand,
    "brick": _brick,
    "sky": _sky,
}

_TYPICAL_HUE = {"grass": 112, "water": 200, "sand": 42, "brick": 12, "sky": 212}


def stuff_ramp(name: str, dice: Dice) -> Ramp:
    """Colours for a texture's brightness: of its typical hue, or of any hue."""
    hue = _TYPICAL_HUE[name] if dice.chance(50) else dice.below(360)
    light = dice.between(-10, 6)
    stops = {
        "grass": [(0, (hue + 12, 75, 38)), (255, (hue - 18, 62, 82))],
        "water": [(0, (hue + 14, 72, 62)), (200, (hue, 58, 84)), (255, (hue - 10, 18, 98))],
        "sand": [(0, (hue - 6, 48, 70)), (255, (hue + 4, 28, 98))],
        "brick": [(0, (hue, 68, 56)), (192, (hue + 10, 60, 80)), (255, (hue + 24, 14, 86))],
        "sky": [(0, (hue, 50, 94)), (255, (hue - 8, 5, 100))],
    }[name]
    return ramp([(at, (h, s, v + light)) for at, (h, s, v) in stops])
