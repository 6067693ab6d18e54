from __future__ import annotations

import numpy as np

from ovbench.drawing.heat import STRONG, WEAK, heat


def test_the_stronger_the_brighter() -> None:
    image = np.full((40, 40, 3), 128, np.uint8)
    strength = np.repeat(np.linspace(0, 1, 40, dtype=np.float32)[None], 40, axis=0)
    shown = np.asarray(heat(image, strength, (40, 40)))
    grey = shown @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(grey[20]) > 0).all()
    for place, colour in ((0, WEAK), (-1, STRONG)):
        assert np.abs(shown[20, place] - (0.75 * np.array(colour) + 32)).max() <= 1


def test_any_grid_covers_the_picture() -> None:
    image = np.full((30, 60, 3), 128, np.uint8)
    strength = np.zeros((3, 3), np.float32)
    strength[0, 2] = 1
    shown = np.asarray(heat(image, strength, (90, 90))).sum(axis=-1)
    assert shown.shape == (45, 90)
    assert shown[30:, :30].max() < shown[:8, 80:].min()
