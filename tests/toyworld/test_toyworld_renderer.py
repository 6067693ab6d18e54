"""The embedded world: reproducible, fully labelled, and not solved by colour alone."""

from __future__ import annotations

import hashlib
from itertools import combinations

import numpy as np
import pytest

from ovbench.toyworld.captions import SINGLE, caption
from ovbench.toyworld.dice import Dice
from ovbench.toyworld.scene import MIN_VISIBLE, Scene, render_scene
from ovbench.toyworld.shapes import GRID, UNIT, distance_table
from ovbench.toyworld.world import NAMES, SIZE, SPLITS, STUFF, THINGS


def render(split: str, count: int) -> list[Scene]:
    return [render_scene(seed) for seed in SPLITS[split][:count]]


@pytest.fixture(scope="module")
def val() -> list[Scene]:
    return render("val", 500)


def test_the_same_bits_everywhere() -> None:
    digest = hashlib.sha256()
    for seed in (0, 1, 2, *SPLITS["val"][:5], *SPLITS["test"][:5]):
        scene = render_scene(seed)
        digest.update(scene.image.tobytes() + scene.label.tobytes())
    assert digest.hexdigest() == (
        "1b19ebb95454c3cb05cee56b7a646a6615020d9cf3a4e713ee3c8f132a29492c"
    )


def test_seeds_differ_and_splits_are_disjoint() -> None:
    assert not np.array_equal(render_scene(0).image, render_scene(1).image)
    for one, other in combinations(SPLITS.values(), 2):
        assert one.stop <= other.start or other.stop <= one.start
    assert len(SPLITS["val"]) == 500
    assert len(SPLITS["test"]) == 1000


def test_every_pixel_has_a_class(val: list[Scene]) -> None:
    for scene in val:
        assert scene.image.shape == (SIZE, SIZE, 3)
        assert scene.image.dtype == scene.label.dtype == np.uint8
        assert scene.label.shape == (SIZE, SIZE)
        assert scene.label.max() < len(NAMES)


def test_every_class_is_common_in_val(val: list[Scene]) -> None:
    counts = {name: sum(name in scene.present for scene in val) for name in NAMES}
    assert min(counts[name] for name in THINGS) >= 80
    assert min(counts[name] for name in STUFF) >= 120
    things = [sum(name in THINGS for name in scene.present) for scene in val]
    grounds = [np.unique(scene.label[scene.label >= len(THINGS)]).size for scene in val]
    assert set(things) == {1, 2, 3, 4}
    assert grounds.count(1) / len(val) == pytest.approx(0.4, abs=0.06)


def test_presence_needs_visible_pixels() -> None:
    label = np.full((SIZE, SIZE), NAMES.index("sand"), np.uint8)
    label.ravel()[: MIN_VISIBLE - 1] = NAMES.index("star")
    scene = Scene(np.zeros((SIZE, SIZE, 3), np.uint8), label)
    assert scene.present == ("sand",)
    label.ravel()[:MIN_VISIBLE] = NAMES.index("star")
    assert scene.present == ("star", "sand")


def test_the_image_shows_what_the_label_says(val: list[Scene]) -> None:
    """A thing's rim is its dark outline; the ground right beside it is not dark."""
    rims, grounds = [], []
    for scene in val[:100]:
        thing = scene.label < len(THINGS)
        grown = np.pad(thing, 3, mode="edge")
        near = [grown[3 + dy : 99 + dy, 3 + dx : 99 + dx] for dy, dx in
                ((-1, 0), (1, 0), (0, -1), (0, 1))]  # fmt: skip
        far = [grown[3 + dy : 99 + dy, 3 + dx : 99 + dx] for dy, dx in
               ((-3, 0), (3, 0), (0, -3), (0, 3))]  # fmt: skip
        value = scene.image.max(axis=2)
        rims.append(value[thing & ~np.logical_and.reduce(near)])
        grounds.append(value[~thing & ~np.logical_or.reduce(near) & np.logical_or.reduce(far)])
    assert np.median(np.concatenate(rims)) < 90
    assert np.median(np.concatenate(grounds)) > 140


@pytest.mark.parametrize("name", THINGS)
def test_a_shape_lies_in_the_unit_circle_and_measures_distance(name: str) -> None:
    table = distance_table(name).reshape(GRID, GRID)
    axis = ((np.arange(GRID) + 0.5) / GRID * 2 - 1) * 1.7
    reach = np.hypot(*np.meshgrid(axis, axis))
    assert reach[table < 0].max() < 1.04
    assert 0.15 < (table < 0).sum() * (3.4 / GRID) ** 2 / np.pi <= 1.01
    # a distance changes by no more than the step: one cell
    for steps in (np.diff(table, axis=0), np.diff(table, axis=1)):
        assert np.abs(steps).max() <= UNIT * 3.4 / GRID + 1


def nearest_mean_colour(train: list[Scene], test: list[Scene]) -> float:
    """mIoU (percent) of labelling each pixel with the class of the nearest mean colour."""
    pixels = np.concatenate([s.image.reshape(-1, 3) for s in train]).astype(float)
    labels = np.concatenate([s.label.ravel() for s in train])
    means = np.stack([pixels[labels == k].mean(axis=0) for k in range(len(NAMES))])
    confusion = np.zeros((len(NAMES), len(NAMES)))
    for scene in test:
        gaps = ((scene.image[..., None, :] - means) ** 2).sum(axis=-1)
        np.add.at(confusion, (scene.label.ravel(), gaps.argmin(axis=-1).ravel()), 1)
    hits = confusion.diagonal()
    return float(100 * np.mean(hits / (confusion.sum(0) + confusion.sum(1) - hits)))


def test_mean_colour_is_not_enough(val: list[Scene]) -> None:
    assert nearest_mean_colour(render("train", 100), val[:100]) < 15


def test_raw_draws_stay_in_range_and_spread() -> None:
    dice = Dice(7)
    draws = [dice.between(-3, 3) for _ in range(700)]
    counts = [draws.count(value) for value in range(-3, 4)]
    assert sum(counts) == 700
    assert min(counts) > 60


@pytest.mark.parametrize("present", [("star",), ("sky",), ("star", "sky"), ("sand", "brick"),
                                     ("circle", "heart", "arrow", "water", "grass")])  # fmt: skip
def test_a_caption_names_every_present_class(present: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    texts = {caption(present, rng) for _ in range(200)}
    assert len(texts) >= 5
    for text in texts:
        words = text.replace(",", " ").replace(".", " ").split()
        assert {word for word in words if word in NAMES} == set(present)
    assert "a photo of a {}." in SINGLE
