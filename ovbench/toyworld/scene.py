"""Drawing one scene.

>>> scene = render_scene(0)
>>> scene.image.shape, scene.label.shape
((96, 96, 3), (96, 96))
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ovbench.toyworld.colours import jitter, ramp, rgb
from ovbench.toyworld.dice import Dice
from ovbench.toyworld.fixedpoint import ONE, SINE, rotation
from ovbench.toyworld.frame import MARGIN, Frame
from ovbench.toyworld.patterns import PALETTES, PATTERNS
from ovbench.toyworld.shapes import UNIT, distance_table
from ovbench.toyworld.textures import TEXTURES, stuff_ramp
from ovbench.toyworld.world import NAMES, SIZE, STUFF, THINGS

MIN_VISIBLE = 40
"""Pixels a class must show to count as present in a scene."""

_EDGE = 16  # levels of a softened edge, which is one pixel wide
_OUTLINE = 2 * _EDGE  # the dark outline's width, in the same unit


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture and what is in it.

    Attributes:
        image: RGB, ``(SIZE, SIZE, 3)`` uint8.
        label: ``(SIZE, SIZE)`` uint8, indices into ``NAMES``; every pixel has a class.
    """

    image: npt.NDArray[np.uint8]
    label: npt.NDArray[np.uint8]

    @property
    def present(self) -> tuple[str, ...]:
        """The classes that show at least ``MIN_VISIBLE`` pixels, in the order of ``NAMES``."""
        pixels = np.bincount(self.label.ravel(), minlength=len(NAMES))
        return tuple(n for n, seen in zip(NAMES, pixels, strict=True) if seen >= MIN_VISIBLE)


def render_scene(seed: int) -> Scene:
    """Draw the scene of ``seed``: the same bits on every platform.

    One or two textures fill the ground; one to four things lie on it, later ones over
    earlier ones.
    """
    dice = Dice(seed)
    image, label = _ground(dice)
    for name, radius, x, y in _placements(dice):
        _draw(name, radius, x, y, image, label, dice)
    return Scene(image.astype(np.uint8), label)


def _ground(dice: Dice) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """One texture in 40 % of the scenes, else two with a wavy border."""
    first = dice.below(len(STUFF))
    image = _fill(STUFF[first], dice)
    label = np.full((SIZE, SIZE), len(THINGS) + first, np.uint8)
    if dice.chance(60):
        second = (first + dice.between(1, len(STUFF) - 1)) % len(STUFF)
        beyond = _beyond_border(dice)
        np.copyto(image, _fill(STUFF[second], dice), where=beyond[..., None])
        label[beyond] = len(THINGS) + second
    return image, label


def _fill(name: str, dice: Dice) -> npt.NDArray[np.int16]:
    texture = TEXTURES[name](dice)
    return stuff_ramp(name, dice)[texture]


def _beyond_border(dice: Dice) -> npt.NDArray[np.bool_]:
    """The pixels on the far side of a wavy line through the middle third of the scene."""
    cosine, sine = rotation(dice.below(360))
    x = np.arange(SIZE, dtype=np.int32) - SIZE // 2
    y = x[:, None]
    across, along = x * cosine + y * sine, y * cosine - x * sine
    phase = along * dice.between(2, 5) // ONE + dice.below(256)
    wave = SINE[phase & 255] * (dice.between(2, 6) * ONE // 127)
    beyond: npt.NDArray[np.bool_] = across > dice.between(-SIZE // 6, SIZE // 6) * ONE + wave
    return beyond


def _placements(dice: Dice) -> list[tuple[str, int, int, int]]:
    """Name, radius and centre of each thing; no centre lies deep in another thing."""
    placed: list[tuple[str, int, int, int]] = []
    for _ in range(dice.between(1, 4)):
        name, radius = THINGS[dice.below(len(THINGS))], dice.between(12, 27)
        for _ in range(8):
            x, y = dice.between(9, SIZE - 10), dice.between(9, SIZE - 10)
            if all(_apart(radius, x, y, *other[1:]) for other in placed):
                placed.append((name, radius, x, y))
                break
    return placed


def _apart(radius: int, x: int, y: int, other: int, other_x: int, other_y: int) -> bool:
    """Whether two things overlap by at most a quarter of their radii."""
    gap = (x - other_x) ** 2 + (y - other_y) ** 2
    return 16 * gap >= 9 * (radius + other) ** 2


def _draw(
    name: str,
    radius: int,
    x: int,
    y: int,
    image: npt.NDArray[np.int16],
    label: npt.NDArray[np.uint8],
    dice: Dice,
) -> None:
    """Draw a thing into ``image`` and ``label``; its outline belongs to it."""
    frame = Frame.of(radius, dice.between(-30, 30))
    distance = distance_table(name)[frame.cell] * radius // (UNIT // _EDGE)
    paint = _paint(name, frame, distance, dice)
    top, left = y - radius - MARGIN, x - radius - MARGIN
    side = 2 * (radius + MARGIN) + 1
    rows = slice(max(top, 0), min(top + side, SIZE))
    columns = slice(max(left, 0), min(left + side, SIZE))
    inner = (slice(rows.start - top, rows.stop - top),
             slice(columns.start - left, columns.stop - left))  # fmt: skip
    cover = np.clip(_EDGE // 2 - distance[inner], 0, _EDGE).astype(np.int16)[..., None]
    below = image[rows, columns]
    below += (paint[inner] - below) * cover // _EDGE
    label[rows, columns][distance[inner] < 0] = THINGS.index(name)


def _paint(
    name: str, frame: Frame, distance: npt.NDArray[np.int32], dice: Dice
) -> npt.NDArray[np.int16]:
    """The thing's colours over its whole window: a pattern inside a dark outline."""
    first, second = (jitter(colour, dice, hue=26) for colour in PALETTES[name])
    pattern = PATTERNS[name](frame, dice.between(8, 11))
    fill = ramp([(0, first), (255, second)])[pattern]
    outline = np.array(rgb((first[0], 60, 16)), np.int16)
    inside = np.clip(_EDGE // 2 - distance - _OUTLINE, 0, _EDGE).astype(np.int16)[..., None]
    return outline + (fill - outline) * inside // _EDGE
