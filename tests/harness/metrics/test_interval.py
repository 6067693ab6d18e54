"""The jackknife against a loop that leaves each image out, and how often it holds the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ovbench.harness.metrics.interval import (
    Estimate,
    label_estimate,
    miou_estimate,
    miou_interval,
    too_few,
)
from ovbench.harness.metrics.scores import Areas, scores


def random_areas(images: int, labels: int, seed: int = 0, rarest: float = 0.1) -> Areas:
    """Images with a few of the labels each; some are answered where they are not."""
    rng = np.random.default_rng(seed)
    share = np.geomspace(0.9, rarest, labels)
    gt = rng.integers(1, 1000, (images, labels)) * (rng.random((images, labels)) < share)
    intersection = (gt * rng.random((images, labels))).astype(np.int64)
    strays = rng.integers(0, 200, gt.shape) * (rng.random(gt.shape) < share / 2)
    return Areas(intersection, gt, intersection + strays)


def total(areas: Areas, images: np.ndarray | slice) -> Areas:
    return Areas(
        areas.intersection[images].sum(axis=0),
        areas.gt[images].sum(axis=0),
        areas.pred[images].sum(axis=0),
    )


def miou(areas: Areas, images: np.ndarray | slice = slice(None)) -> float:
    return scores(total(areas, images), background=False).miou


@pytest.mark.parametrize(("images", "rarest"), [(7, 0.05), (40, 0.02), (60, 0.5)])
def test_equals_a_loop_that_leaves_each_image_out(images: int, rarest: float) -> None:
    areas = random_areas(images, 9, rarest=rarest)
    others = [np.delete(np.arange(images), image) for image in range(images)]
    value, left_out = miou(areas), np.array([miou(areas, rest) for rest in others])
    whole = total(areas, slice(None)).iou
    occurring = np.flatnonzero(~np.isnan(whole))
    biases = np.zeros(9)
    for label in occurring:
        ious = np.array([total(areas, rest).iou[label] for rest in others])
        if not np.isnan(ious).any():
            seen = (areas.union[:, label] > 0).sum()
            first_order = (images - 1) * (ious.mean() - whole[label])
            biases[label] = first_order * (1 + 4 / seen) / len(occurring)
    found = miou_estimate(areas)
    assert found.value == pytest.approx(value)
    np.testing.assert_allclose(found.left_out, left_out)
    np.testing.assert_allclose(found.biases, biases, atol=1e-9)

    error = math.sqrt((images - 1) / images * ((left_out - left_out.mean()) ** 2).sum())
    doubt = math.sqrt(sum((b - biases.mean()) ** 2 for b in biases))
    freedom = 2 * images / (stats.kurtosis(left_out, fisher=False) - 1)
    reach = stats.t.ppf(0.95, min(freedom, images - 1))
    ends = found.interval(level=0.9)
    corrected, wider = value - sum(biases), reach * math.hypot(error, doubt)
    assert ends[0] == pytest.approx(min(value - reach * error, corrected - wider))
    assert ends[1] == pytest.approx(max(value + reach * error, corrected + wider))


@given(st.integers(2, 30), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_holds_the_score_that_it_is_of(images: int, labels: int, seed: int) -> None:
    """Nine images of many rare classes: the percentiles of resamples lay beside the score."""
    areas = random_areas(images, labels, seed, rarest=0.01)
    low, high = miou_interval(areas)
    value = miou(areas)
    if not math.isnan(low):
        assert 0 <= low <= value <= high <= 100
    other = random_areas(images, labels, seed + 1, rarest=0.01)
    effect = miou_estimate(areas).minus(miou_estimate(other))
    low, high = effect.interval()
    assert math.isnan(low) or low <= effect.value <= high


@pytest.mark.parametrize(("images", "labels", "rarest"), [(50, 21, 0.05), (400, 60, 0.01)])
def test_holds_the_truth_as_often_as_it_says(images: int, labels: int, rarest: float) -> None:
    world = random_areas(40_000, labels, 1, rarest)
    rival = random_areas(40_000, labels, 2, rarest)
    truth, lead = miou(world), miou(world) - miou(rival)
    rng, hits, leads = np.random.default_rng(0), 0, 0
    for _ in range(300):
        drawn = rng.integers(40_000, size=images)
        sets = [Areas(w.intersection[drawn], w.gt[drawn], w.pred[drawn]) for w in (world, rival)]
        low, high = miou_interval(sets[0])
        hits += low <= truth <= high
        low, high = miou_estimate(sets[0]).minus(miou_estimate(sets[1])).interval()
        leads += low <= lead <= high
    assert hits / 300 >= 0.92
    assert leads / 300 >= 0.92


@given(
    st.floats(-50, 50),
    st.lists(st.floats(-5, 5), min_size=1, max_size=4),
    st.integers(2, 20),
    st.floats(0.01, 0.99),
    st.integers(),
)
def test_p_is_the_level_at_which_the_interval_reaches_nothing(
    value: float, biases: list[float], images: int, level: float, seed: int
) -> None:
    noise = np.random.default_rng(abs(seed)).normal(0, 1, images)
    found = Estimate(value, value + noise, np.array(biases))
    low, high = found.interval(level)
    p = found.p()
    if abs(p - (1 - level)) > 1e-6:
        assert (low <= 0 <= high) == (p > 1 - level)


@pytest.mark.filterwarnings("error")
def test_what_one_image_decides_has_no_interval() -> None:
    for images in (0, 1):
        assert all(map(math.isnan, miou_interval(random_areas(images, 3))))
    nothing = np.zeros((5, 3), np.int64)
    assert all(map(math.isnan, miou_interval(Areas(nothing, nothing, nothing))))
    one = nothing.copy()
    one[0] = (10, 0, 0)
    assert all(map(math.isnan, miou_interval(Areas(one, one, one))))
    one[1] = (5, 0, 0)
    assert miou_interval(Areas(one, one, one)) == (100, 100)
    one[2] = (0, 7, 0)
    labels = [label_estimate(Areas(one, one, one), label) for label in range(3)]
    assert labels[0].interval() == (100, 100)
    assert math.isnan(labels[1].interval()[0])
    assert math.isnan(labels[2].value)


@pytest.mark.parametrize(
    ("images", "alone", "warned"), [(24, 0, True), (25, 0, False), (25, 2, False), (25, 3, True)]
)
def test_few_images_are_said_to_be_few(images: int, alone: int, warned: bool) -> None:
    areas = np.zeros((images, 12), np.int64)
    areas[:2, :4] = 1
    areas[:1, 4 : 4 + alone] = 1  # those behind never occur, which is no fault of the images
    said = too_few(Areas(areas, areas, areas))
    assert (said is not None) == warned
    if said is not None:
        assert f"{images}, with {alone} of {4 + alone} classes in one of them alone" in said
