"""Whole scenes and crops of them, with what each shows: the images of a training batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ovbench.toyworld.scene import MIN_VISIBLE
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.world import NAMES, SIZE

HIDDEN = len(NAMES)
"""A label that no class has."""


@dataclass(frozen=True, slots=True)
class Views:
    """Windows of scenes, all at the same place.

    Attributes:
        images: ``(N, side, side, 3)`` uint8.
        present: ``(N, 15)`` bool, the classes with at least ``MIN_VISIBLE`` pixels in it.
        top, left: the window's place in its scene, in pixels.
    """

    images: npt.NDArray[np.uint8]
    present: npt.NDArray[np.bool_]
    top: int
    left: int


def draw_views(bank: SceneBank, count: int, side: int, rng: np.random.Generator) -> Views:
    """``count`` different scenes of the bank, cut to ``side`` pixels at one random place."""
    top, left = (int(place) for place in rng.integers(SIZE - side + 1, size=2))
    images, labels = bank.take(rng.choice(len(bank), count, replace=False))
    window = slice(None), slice(top, top + side), slice(left, left + side)
    return Views(np.ascontiguousarray(images[window]), presence(labels[window]), top, left)


def presence(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which classes each label map ``(N, H, W)`` shows, ``(N, 15)`` bool.

    :data:`HIDDEN` in a label map stands for what cannot be seen.
    """
    count, values = len(labels), len(NAMES) + 1
    keys = labels.reshape(count, -1) + np.arange(count, dtype=np.int32)[:, None] * values
    pixels = np.bincount(keys.ravel(), minlength=count * values)
    return pixels.reshape(count, values)[:, :HIDDEN] >= MIN_VISIBLE
