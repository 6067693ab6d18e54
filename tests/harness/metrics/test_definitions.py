"""Definitions of mIoU against loops over the label maps, as the evaluators they name count."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovbench.harness.metrics.definitions import MIOU_DEFINITIONS, definitions
from ovbench.harness.metrics.resized import SIDES
from ovbench.harness.metrics.scores import Confusion, confusion, scores
from ovbench.harness.metrics.tally import Tally

Maps = npt.NDArray[np.uint8]
VOID = 255


@st.composite
def images(draw: st.DrawFn) -> tuple[list[tuple[Maps, Maps]], int]:
    """Ground truths with void, and answers that may say void there; some labels never occur."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = draw(st.integers(1, 5))
    found = []
    for _ in range(draw(st.integers(1, 4))):
        shown = rng.integers(0, labels, rng.integers(1, labels + 1))
        gt = rng.choice([*shown, VOID], (3, 4)).astype(np.uint8)
        pred = rng.integers(0, labels, (3, 4)).astype(np.uint8)
        pred[(gt == VOID) & (rng.random((3, 4)) < 0.3)] = VOID
        found.append((gt, pred))
    return found, labels


def named(pairs: list[tuple[Maps, Maps]], labels: int, **how: Any) -> dict[str, float]:
    counted = [confusion(gt, pred, labels, VOID, unanswered="miss") for gt, pred in pairs]
    how = {"scored": None, "background": False, **how}
    tally = Tally.of(counted, labels)
    return definitions(tally.areas(), tally.void, **how)


def mean_where_there_is_truth(pairs: list[tuple[Maps, Maps]], labels: int) -> float:
    """A class's IoU over all pixels of all images, averaged as PnP-OVSS's evaluators do."""
    gt = np.concatenate([gt.ravel() for gt, _ in pairs])
    pred = np.concatenate([pred.ravel() for _, pred in pairs])
    ious = [
        100 * ((gt == c) & (pred == c)).sum() / ((gt == c) | (pred == c)).sum()
        for c in range(labels)
        if (gt == c).any()
    ]
    return float(np.mean(ious)) if ious else np.nan


@given(images())
def test_void_is_scored_as_background(case: tuple[list[tuple[Maps, Maps]], int]) -> None:
    pairs, labels = case
    turned = [(np.where(gt == VOID, 0, gt).astype(np.uint8), pred) for gt, pred in pairs]
    found = named(pairs, labels, background=True)
    assert found["void_as_background"] == pytest.approx(mean_where_there_is_truth(turned, labels))


@given(images())
def test_what_nobody_labelled_is_one_more_class(
    case: tuple[list[tuple[Maps, Maps]], int],
) -> None:
    pairs, labels = case
    for gt, pred in pairs:
        pred[:, 0] = np.where(gt[:, 1] == 0, VOID, pred[:, 0])  # no answer, scored pixels or not
    shifted = [tuple((one + np.uint8(1)) for one in pair) for pair in pairs]  # 255 becomes 0
    expected = mean_where_there_is_truth(shifted, labels + 1)
    assert named(pairs, labels)["other_as_background"] == pytest.approx(expected)


@given(images(), st.booleans())
def test_per_image_is_the_mean_of_every_image_alone(
    case: tuple[list[tuple[Maps, Maps]], int], background: bool
) -> None:
    pairs, labels = case
    counted = [confusion(gt, pred, labels, VOID, unanswered="miss") for gt, pred in pairs]
    alone = [
        scores(Tally.of([one], labels).areas().total, background=False).miou for one in counted
    ]
    expected = np.nanmean(alone) if not np.isnan(alone).all() else np.nan
    found = named(pairs, labels, background=background)
    assert found["per_image"] == pytest.approx(expected, nan_ok=True)
    pairs_of_class = [
        100 * ((gt == c) & (pred == c)).sum() / ((gt == c) | ((pred == c) & (gt != VOID))).sum()
        for gt, pred in pairs
        for c in range(int(background), labels)
        if (gt == c).any()
    ]
    expected = np.mean(pairs_of_class) if pairs_of_class else np.nan
    assert found["per_image_class"] == pytest.approx(expected, nan_ok=True)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_foreground_and_background_of_episodes(seed: int, episodes: int) -> None:
    """As HSNet: 0 and 1 in every episode; sums per class, then over the classes."""
    rng = np.random.default_rng(seed)
    asked = rng.integers(1, 4, episodes)
    masks = rng.integers(0, 2, (episodes, 2, 4, 5)).astype(np.uint8)
    both, either = np.zeros((2, 3)), np.zeros((2, 3))
    for (gt, pred), label in zip(masks, asked, strict=True):
        for value in (0, 1):
            both[value, label - 1] += ((gt == value) & (pred == value)).sum()
            either[value, label - 1] += ((gt == value) | (pred == value)).sum()
    pairs = [(gt * label, pred * label) for (gt, pred), label in zip(masks, asked, strict=True)]
    pairs = [(gt.astype(np.uint8), pred.astype(np.uint8)) for gt, pred in pairs]
    found = named(pairs, 4, scored=[1, 2, 3], background=True, prompted=True)
    assert found["fb_iou"] == pytest.approx(100 * (both.sum(1) / either.sum(1)).mean())
    iou = both[1] / np.maximum(either[1], 1)  # a class without an episode is 0 in its mean
    assert found["all_classes"] == pytest.approx(100 * iou.mean())


def test_definitions_are_the_documented_ones() -> None:
    pair = np.array([[0, 1, VOID]], np.uint8), np.array([[0, 0, 1]], np.uint8)
    usual = {"union", "gt_only", "all_classes", "per_image", "per_image_class"}
    without = {f"{name}_without_background" for name in ("union", "gt_only", "all_classes")}
    assert set(named([pair], 2)) == usual | {"other_as_background"}
    assert set(named([pair], 2, background=True)) == usual | without | {"void_as_background"}
    # Pixels are ignored for another reason where some classes are measured alone.
    assert set(named([pair], 2, scored=[1], background=True)) == usual
    everything = usual | without | {"void_as_background", "other_as_background", "fb_iou"}
    assert set(MIOU_DEFINITIONS) == everything | set(SIDES)


def test_nothing_is_made_up_where_void_was_not_counted() -> None:
    old = Confusion(*np.array([[0, 1], [0, 1], [3, 4]]))
    new = confusion(*np.zeros((2, 1, 2), np.uint8), 2)
    tally = Tally.of([old, new], 2)
    assert tally.void is None
    found = definitions(tally.areas(), None, scored=None, background=True)
    assert "void_as_background" not in found
    assert found["union"] == 100
