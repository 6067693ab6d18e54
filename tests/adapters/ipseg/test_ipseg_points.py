"""From similarities to points, and SAM asked once or three times."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ovbench.adapters.ipseg.asking import Asker, box_of, cascade, squashed_by_opencv
from ovbench.adapters.ipseg.points import (
    PointPrompt,
    extremes,
    k_means,
    k_means_with_nan,
    places,
    point_prompt,
    positions,
)
from ovbench.adapters.ipseg.settings import Settled
from ovbench.harness.contract.arrays import Image
from ovbench.models.sam.promptable import MaskPrediction

SETTINGS = Settled(grid=20, points=6, centres=3)


def test_the_most_and_the_least_similar_places() -> None:
    similarities = np.random.default_rng(0).normal(size=(20, 20)).round(1)  # with many ties
    best, worst = extremes(similarities, 32)
    flat = similarities.ravel().tolist()
    assert best.tolist() == sorted(range(400), key=lambda i: (-flat[i], i))[:32]
    assert worst.tolist() == sorted(range(400), key=lambda i: (flat[i], i))[:32]


def test_of_equal_places_the_released_code_takes_those_that_torch_puts_first() -> None:
    """Rows that stand in for two, as in pictures that are no squares."""
    rows = np.random.default_rng(0).random((15, 20), np.float32)
    similarities = rows[np.arange(20) * 15 // 20]
    best, worst = extremes(similarities, 32, released=True)
    flat = torch.from_numpy(similarities).reshape(1, -1)
    assert best.tolist() == torch.argsort(flat, dim=1, descending=True)[0, :32].tolist()
    assert worst.tolist() == torch.argsort(1 - flat, dim=1, descending=True)[0, :32].tolist()
    settings = replace(SETTINGS, points=32, k_means="nan")
    seen = point_prompt(similarities, settings, (96, 96), 0).points
    expected = positions(k_means_with_nan(places(best, settings), 3), 20, (96, 96))
    assert seen[: len(expected)].tolist() == expected.tolist()


@pytest.mark.parametrize(("side", "count"), [(3, 4), (1, 1), (4, 8)])
def test_a_small_grid_is_halved(side: int, count: int) -> None:
    best, worst = extremes(np.arange(side * side, dtype=float).reshape(side, side), 32)
    assert len(best) == len(worst) == count
    assert side == 1 or not set(best) & set(worst)


def lloyd(points: list[tuple[float, float]], centres: list[Any], rounds: int) -> list[Any]:
    """K-means written out."""
    for _ in range(rounds):
        clusters: list[list[Any]] = [[] for _ in centres]
        for point in points:
            distances = [sum((a - b) ** 2 for a, b in zip(point, c, strict=True)) for c in centres]
            clusters[distances.index(min(distances))].append(point)
        centres = [tuple(np.mean(c, axis=0)) for c in clusters if c]
    return centres


@pytest.mark.parametrize("seed", range(4))
def test_k_means_is_lloyds(seed: int) -> None:
    points = np.random.default_rng(seed).integers(0, 20, (32, 2)).astype(float)
    start = points[np.random.default_rng(seed).choice(32, 4, replace=False)]
    found = k_means(points, 4, np.random.default_rng(seed))
    assert found == pytest.approx(np.array(lloyd(points.tolist(), start.tolist(), 20)))


def test_as_many_centres_as_points_are_the_points() -> None:
    """The paper's row K = 32, c = 32: no clustering."""
    points = np.random.default_rng(0).permutation(400)[:32]
    spread = np.stack([points % 20, points // 20], axis=1).astype(float)
    for count in (32, 50):
        found = k_means(spread, count, np.random.default_rng(1))
        assert sorted(map(tuple, found)) == sorted(map(tuple, spread))


def test_clusters_that_run_empty_are_dropped() -> None:
    twins = np.array([[1.0, 1.0]] * 5)
    assert k_means(twins, 3, np.random.default_rng(0)).tolist() == [[1.0, 1.0]]


def test_places_become_positions_in_the_picture() -> None:
    # Place 25 of a grid of 20 is column 5 of row 1; its middle, in 40 x 200 pixels:
    found = positions(places(np.array([0, 25]), SETTINGS), 20, (40, 200))
    assert found.tolist() == [[5.0, 1.0], [55.0, 3.0]]
    # As the released code has it, with 60 places and 1024 pixels: a row of idx / 60.
    published = replace(SETTINGS, grid=60, fractional_rows=True)
    (x, y) = positions(places(np.array([95]), published), 60, (1024, 1024))[0]
    assert (x, y) == pytest.approx((35 * 1024 / 60 + 1024 / 120, 95 / 60 * 1024 / 60 + 1024 / 120))


def test_positive_points_lie_where_it_is_similar() -> None:
    similarities = np.zeros((20, 20))
    similarities[2:5, 10:15] = 1  # 15 places
    similarities[18:, :3] = -1
    prompt = point_prompt(similarities, SETTINGS, (100, 100), seed=0)
    inside, outside = (prompt.points[prompt.labels == label] for label in (1, 0))
    assert len(inside) == len(outside) == 3
    assert ((inside >= [50, 10]) & (inside <= [75, 25])).all()
    assert ((outside >= [0, 90]) & (outside <= [15, 100])).all()
    again = point_prompt(similarities, SETTINGS, (100, 100), seed=0)
    assert (again.points == prompt.points).all()


class Recorder:
    """A SAM that answers with given masks and remembers what it was asked."""

    image_size = 8

    def __init__(self, *masks: np.ndarray) -> None:
        self.masks, self.asked = list(masks), []  # type: ignore[var-annotated]

    def encode(self, image: Image) -> Any:
        self.image = image
        return "encoded"

    def predict(self, encoded: Any, **question: Any) -> MaskPrediction:
        assert encoded == "encoded"
        self.asked.append(question)
        step, count = len(self.asked), 3 if question["multimask"] else 1
        right = count - 1  # the best one is not the first
        masks = np.zeros((count, *self.masks[0].shape), np.bool_)
        masks[right] = self.masks[step - 1]
        low_res = np.full((count, 2, 2), -1.0, np.float32)
        low_res[right] = step
        iou = np.linspace(0.1, step / 10, count, dtype=np.float32)
        return MaskPrediction(masks, iou, low_res)


PROMPT = PointPrompt(np.array([[1.0, 2.0]]), np.array([1]))


def rectangle(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((10, 12), np.bool_)
    mask[top : bottom + 1, left : right + 1] = True
    return mask


def test_three_passes() -> None:
    sam = Recorder(rectangle(0, 0, 1, 1), rectangle(2, 3, 5, 9), rectangle(2, 3, 6, 9))
    found = cascade(sam, "encoded", PROMPT)  # type: ignore[arg-type]
    first, second, third = sam.asked
    assert [q["multimask"] for q in sam.asked] == [False, True, True]
    assert all((q["points"] == PROMPT.points).all() for q in sam.asked)
    assert first["mask_input"] is None
    assert (second["mask_input"] == 1).all()
    assert (third["mask_input"] == 2).all()
    assert [q["box"] for q in sam.asked] == [None, None, (3, 2, 9, 5)]
    assert (found.mask == rectangle(2, 3, 6, 9)).all()
    assert found.iou == pytest.approx(0.3)


def test_the_box_of_an_empty_mask_is_the_picture() -> None:
    assert box_of(np.zeros((10, 12), np.bool_)) == (0, 0, 11, 9)
    assert box_of(rectangle(4, 7, 4, 7)) == (7, 4, 7, 4)
    sam = Recorder(*[np.zeros((10, 12), np.bool_)] * 3)
    cascade(sam, "encoded", PROMPT)  # type: ignore[arg-type]
    assert sam.asked[2]["box"] == (0, 0, 11, 9)


def test_one_pass_and_a_squashed_picture() -> None:
    image = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    sam = Recorder(rectangle(1, 1, 2, 2))
    asker = Asker(sam, image, SETTINGS)  # type: ignore[arg-type]
    assert asker.frame == (10, 12)
    assert (asker.ask(PROMPT).mask == rectangle(1, 1, 2, 2)).all()
    assert len(sam.asked) == 1
    assert sam.asked[0]["multimask"] is False
    left_half = np.zeros((8, 8), np.bool_)
    left_half[:, :4] = True
    sam = Recorder(left_half)
    asker = Asker(sam, image, replace(SETTINGS, sam_input="square"))  # type: ignore[arg-type]
    assert asker.frame == sam.image.shape[:2] == (8, 8)
    mask = asker.ask(PROMPT).mask
    assert mask.shape == (10, 12)
    assert mask[:, :6].all()
    assert not mask[:, 6:].any()


def test_released_k_means_starts_from_torchs_permutation_of_seed_0() -> None:
    points = np.random.default_rng(1).permutation(400)[:32]
    spread = np.stack([points % 20, points / 20], axis=1)
    torch.manual_seed(0)
    start = torch.as_tensor(spread).float()[torch.randperm(32)[:4]]
    expected = np.array(lloyd(spread.tolist(), start.tolist(), 20))
    found = k_means_with_nan(spread, 4)
    assert found[np.lexsort(found.T)] == pytest.approx(expected[np.lexsort(expected.T)], abs=1e-4)


def test_in_released_k_means_an_empty_cluster_takes_all_points() -> None:
    twins = np.array([[1.0, 1.0]] * 5 + [[3.0, 2.0]])
    assert k_means_with_nan(twins, 3).tolist() == [pytest.approx([8 / 6, 7 / 6])]


def test_the_square_is_opencvs() -> None:
    """No antialiasing: every second pixel is read, at the middle between two."""
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, ::4] = 200
    found = squashed_by_opencv(image, 2)
    assert found.shape == (2, 2, 3)
    assert not found.any()
    enlarged = squashed_by_opencv(image[:2, :2], 4)
    assert enlarged[0, :, 0].tolist() == [200, 150, 50, 0]
