"""The bootstrap against a loop over the same resamples, and its coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ovbench.harness.bootstrap import bootstrap_miou
from ovbench.harness.metrics import Areas, scores


def random_areas(images: int, labels: int, seed: int = 0) -> Areas:
    """Images with a few of the labels each; the last label is rare."""
    rng = np.random.default_rng(seed)
    share = np.linspace(0.9, 0.1, labels)
    gt = rng.integers(1, 1000, (images, labels)) * (rng.random((images, labels)) < share)
    intersection = (gt * rng.random((images, labels))).astype(np.int64)
    return Areas(intersection, gt, intersection + rng.integers(0, 50, gt.shape) * (gt > 0))


def total(areas: Areas, images: np.ndarray | slice) -> Areas:
    return Areas(
        areas.intersection[images].sum(axis=0),
        areas.gt[images].sum(axis=0),
        areas.pred[images].sum(axis=0),
    )


@pytest.mark.parametrize("level", [0.95, 0.5])
def test_equals_a_loop_over_the_same_resamples(level: float) -> None:
    areas = random_areas(images=6, labels=5)
    rng = np.random.default_rng(3)
    draws = np.concatenate([rng.integers(6, size=(200, 6)), rng.integers(6, size=(50, 6))])
    mious = [scores(total(areas, images), background=False).miou for images in draws]
    expected = np.quantile(mious, [(1 - level) / 2, (1 + level) / 2])
    interval = bootstrap_miou(areas, samples=250, seed=3, level=level)
    assert interval == pytest.approx(tuple(expected), rel=1e-12)


def test_is_decided_by_the_seed() -> None:
    areas = random_areas(images=40, labels=7)
    assert bootstrap_miou(areas, seed=1) == bootstrap_miou(areas, seed=1)
    assert bootstrap_miou(areas, seed=1) != bootstrap_miou(areas, seed=2)


def test_covers_the_true_value_about_as_often_as_it_says() -> None:
    truth = scores(total(random_areas(200_000, 3), slice(None)), background=False).miou
    hits = 0
    for seed in range(200):
        low, high = bootstrap_miou(random_areas(80, 3, seed), samples=200, level=0.9)
        hits += low <= truth <= high
    assert 0.83 <= hits / 200 <= 0.96


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("images", [0, 1])
def test_needs_two_images(images: int) -> None:
    assert all(math.isnan(bound) for bound in bootstrap_miou(random_areas(images, 3)))


@pytest.mark.filterwarnings("error")
def test_images_without_scored_pixels() -> None:
    nothing = np.zeros((5, 3), np.int64)
    assert all(math.isnan(bound) for bound in bootstrap_miou(Areas(nothing, nothing, nothing)))
    one = nothing.copy()
    one[0] = (10, 0, 0)
    assert bootstrap_miou(Areas(one, one, one)) == (100.0, 100.0)
