from __future__ import annotations

import numpy as np
import pytest

from ovbench.drawing.colours import INVENTED, MISSED, MISTAKEN, nth_colour
from ovbench.drawing.pictures import errors, fitted, overlay


def block(*values: int) -> np.typing.NDArray[np.uint8]:
    """A label map with one column of 10 pixels per value."""
    return np.array([values], np.uint8).repeat(20, 0).repeat(10, 1)


def middles(picture: object, count: int) -> list[tuple[int, ...]]:
    pixels = np.asarray(picture)
    return [tuple(pixels[10, 10 * k + 5].tolist()) for k in range(count)]


def test_every_kind_of_error_has_its_colour() -> None:
    truth, answer = block(0, 1, 0, 1, 1, 255), block(0, 0, 1, 1, 2, 1)
    image = np.full((20, 60, 3), 100, np.uint8)
    shown = errors(image, truth, answer, 0, 255, (60, 20))
    right, missed, invented, same, mistaken, _ = middles(shown, 6)
    assert right == same == (150, 150, 150)
    for found, colour in ((missed, MISSED), (invented, INVENTED), (mistaken, MISTAKEN)):
        assert found == pytest.approx([0.8 * c + 20 for c in colour], abs=1)
    void = {tuple(p) for p in np.asarray(shown)[:, 50:].reshape(-1, 3).tolist()}
    assert void == {(150, 150, 150), (160, 160, 160)}


def test_without_background_every_error_is_a_mistake() -> None:
    image = np.full((20, 20, 3), 100, np.uint8)
    shown = errors(image, block(0, 1), block(1, 0), None, 255, (20, 20))
    assert middles(shown, 2) == [pytest.approx([0.8 * c + 20 for c in MISTAKEN], abs=1)] * 2


@pytest.mark.parametrize(
    ("shape", "size"),
    [((1, 1), (90, 90)), ((500, 7), (1, 90)), ((7, 500), (120, 2)), ((30, 40), (120, 90))],
)
def test_pictures_keep_their_proportions(shape: tuple[int, int], size: tuple[int, int]) -> None:
    image, label = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8)
    assert fitted(image, (120, 90)).size == size
    assert overlay(image, label, {0: (1, 2, 3)}, 255, (120, 90)).size == size
    assert errors(image, label, label, 0, 255, (120, 90)).size == size


def test_colours_stay_apart() -> None:
    colours = np.array([nth_colour(i) for i in range(20)])
    gaps = np.abs(colours[:, None] - colours).sum(axis=-1) + 999 * np.eye(20)
    assert gaps.min() > 40
