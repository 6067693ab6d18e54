"""``ovbench regions``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from in_process import ovbench
from PIL import Image

from ovbench.toyworld.scene import render_scene


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "scene.png"
    Image.fromarray(render_scene(5).image).save(path)
    return path


def test_a_pictures_regions_are_drawn(picture: Path, tmp_path: Path, cache: Path) -> None:
    drawn = tmp_path / "regions.png"
    options = ("--checkpoints", "toy", "--set", "points_per_side=6", "-o", str(drawn))
    shown = ovbench("regions", "show", str(picture), *options)
    assert shown.returncode == 0, shown.stderr
    counts, path = shown.stdout.splitlines()
    assert path == str(drawn)
    masks = int(counts.split()[0])
    assert masks > 0
    assert np.asarray(Image.open(drawn)).shape == render_scene(5).image.shape
    again = ovbench("regions", "show", str(picture), *options, "--fuse", "--on-top", "smaller")
    assert again.stdout.splitlines()[0].startswith(f"{masks} masks, ")
    assert len(list((cache / "regions").glob("*.npz"))) == 1  # fusing and painting make no others


def test_sam_2_has_a_grid_of_its_own(picture: Path, tmp_path: Path, cache: Path) -> None:
    """SAM's miniature stands for it: masks that SAM 2's thresholds let pass."""
    options = ("--generator", "sam2_grid", "--checkpoints", "toy", "--set", "points_per_side=4")
    shown = ovbench("regions", "show", str(picture), *options, "-o", str(tmp_path / "drawn.png"))
    assert shown.returncode == 0, shown.stderr
    assert int(shown.stdout.split()[0]) > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--set", "points=6"), "points_per_side"),
        (("--set", "stability=2"), "stability"),
        (("--generator", "magic"), "'magic'"),
        (("--generator", "panoptic"), "panoptic"),
    ],
)
def test_what_cannot_be_is_one_line(picture: Path, options: tuple[str, ...], words: str) -> None:
    done = ovbench("regions", "show", str(picture), "--checkpoints", "toy", *options)
    assert done.returncode == 2
    assert words in done.stderr
