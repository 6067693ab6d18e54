"""The page of pictures: its layout, and that the command draws all of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovbench.toyworld.gallery import __main__ as gallery
from ovbench.toyworld.gallery.canvas import (
    CAPTION,
    COLOURS,
    Tile,
    heat,
    paint,
    principal_colours,
    sheet,
    tint,
)
from ovbench.toyworld.world import NAMES


def test_tiles_stand_in_rows_with_room_for_captions() -> None:
    red, blue = (np.full((4, 40, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    page = np.asarray(sheet([[Tile(red, "red"), Tile(blue)], [Tile(blue)]], zoom=2))
    assert page.shape == (2 * (8 + CAPTION), 80 + 8 + 80, 3)
    assert (page[:8, :80] == (255, 0, 0)).all()
    assert (page[:8, 88:] == (0, 0, 255)).all()
    assert (page[8 : 8 + CAPTION, :80] != 255).any()  # something is written there
    assert (page[8 : 8 + CAPTION, 88:] == 255).all()
    assert (page[8 + CAPTION : 16 + CAPTION, :80] == (0, 0, 255)).all()


def test_every_class_has_a_colour_of_its_own() -> None:
    assert len({tuple(colour) for colour in COLOURS.tolist()}) == len(NAMES)
    assert (paint(np.array([[3]])) == COLOURS[3]).all()


def test_heat_rises_from_dark_to_bright() -> None:
    shown = heat(np.array([[0.2, 0.5, 0.8]])).astype(int).sum(axis=2)[0]
    assert shown[0] == 0
    assert shown[0] < shown[1] < shown[2]
    assert not heat(np.zeros((2, 2))).any()  # nothing to tell apart


def test_tint_keeps_what_is_in_the_mask() -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    mask = np.eye(4, dtype=bool)
    shown = tint(image, mask)
    assert (shown[mask] == image[mask]).all()
    assert (shown[~mask] >= 190).all()


def test_alike_features_get_alike_colours() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2, 8))
    kinds = rng.integers(0, 2, (2, 6, 6))
    features = centres[kinds] + 0.01 * rng.normal(size=(2, 6, 6, 8))
    red = principal_colours(features)[..., 0].astype(int)
    assert abs(red[kinds == 0].mean() - red[kinds == 1].mean()) > 200


@pytest.mark.slow
def test_the_command_draws_the_page(tmp_path: Path) -> None:
    assert gallery.main(["--output", str(tmp_path)]) == 0
    page = (tmp_path / "gallery.md").read_text()
    for name in gallery.SHEETS:
        assert f"](gallery/{name}.png)" in page
        with Image.open(tmp_path / "gallery" / f"{name}.png") as drawn:
            assert len(drawn.getcolors(1 << 24) or ()) > 100
