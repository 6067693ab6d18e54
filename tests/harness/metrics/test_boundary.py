"""Boundary areas against masks that are eroded one class and one step at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ovbench.harness.metrics.boundary import BoundaryAreas, boundary_areas
from ovbench.harness.metrics.scores import Areas, confusion
from ovbench.harness.metrics.tally import Tally

Labels = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


def accumulated(images: list[BoundaryAreas], num_labels: int) -> Areas:
    tally, nothing = Tally(num_labels), np.zeros((0, 0), np.uint8)
    for image in images:
        tally.add(confusion(nothing, nothing, num_labels), image)
    return tally.boundary


def boundary_of(mask: Mask, width: int) -> Mask:
    eroded = mask
    for _ in range(width):
        padded = np.pad(eroded, 1)
        shifts = [
            padded[dy : dy + mask.shape[0], dx : dx + mask.shape[1]]
            for dy in range(3)
            for dx in range(3)
        ]
        eroded = np.logical_and.reduce(shifts)
    return mask & ~eroded


def count_slowly(
    gt: Labels, pred: Labels, num_labels: int, width: int
) -> dict[int, tuple[int, int, int]]:
    scored, found = gt != 255, {}
    pred = np.where(scored, pred, 255)
    for label in range(num_labels):
        truth = boundary_of(gt == label, width) & scored
        guess = boundary_of(pred == label, width) & scored
        counts = (int((truth & guess).sum()), int(truth.sum()), int(guess.sum()))
        if any(counts):
            found[label] = counts
    return found


def as_dict(areas: BoundaryAreas) -> dict[int, tuple[int, int, int]]:
    columns = (areas.labels, areas.intersection, areas.gt, areas.pred)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {label: (both, gt, pred) for label, both, gt, pred in rows}


@st.composite
def blocky_maps(draw: st.DrawFn, labels: list[int], shape: tuple[int, int]) -> Labels:
    """Few labels in large blocks with a little noise, so that interiors exist."""
    block = draw(st.integers(1, 12))
    coarse_shape = (-(-shape[0] // block), -(-shape[1] // block))
    coarse = draw(hnp.arrays(np.uint8, coarse_shape, elements=st.sampled_from(labels)))
    fine = coarse.repeat(block, axis=0).repeat(block, axis=1)[: shape[0], : shape[1]].copy()
    for _ in range(draw(st.integers(0, 2))):
        y, x = draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))
        fine[y, x] = draw(st.sampled_from(labels))
    return fine


@given(st.data())
def test_one_pass_equals_eroding_every_class(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 30), st.integers(1, 30)))
    gt = data.draw(blocky_maps([0, 1, 2, 255], shape))
    pred = data.draw(blocky_maps([0, 1, 2], shape))
    ratio = data.draw(st.sampled_from([0.02, 0.06, 0.1, 0.2]))
    width = max(1, round(ratio * math.hypot(*shape)))
    counted = boundary_areas(gt, pred, 3, dilation_ratio=ratio)
    assert as_dict(counted) == count_slowly(gt, pred, 3, width)


def test_a_label_map_is_not_a_grey_image() -> None:
    """Eroding labels as numbers turns the border of 15 and 3 into a phantom class 12."""
    gt = np.full((40, 60), 3, np.uint8)
    gt[:, 30:] = 15
    by_number = gt - np.minimum(gt, np.roll(gt, 1, axis=1))
    assert 12 in by_number
    counted = boundary_areas(gt, gt, 21)
    assert as_dict(counted) == count_slowly(gt, gt, 21, width=1)
    assert counted.labels.tolist() == [3, 15]
    assert counted.gt[0] == counted.gt[1]

    gt[10:20, 20:40] = 12
    pred = gt.copy()
    pred[10:20, 20:40] = 15
    assert as_dict(boundary_areas(gt, pred, 21)) == count_slowly(gt, pred, 21, width=1)


def test_the_frame_of_the_image_is_boundary() -> None:
    labels = np.zeros((100, 200), np.uint8)
    width = round(0.02 * math.hypot(100, 200))
    assert width == 4
    counted = boundary_areas(labels, labels, 1)
    frame = 100 * 200 - (100 - 2 * width) * (200 - 2 * width)
    assert as_dict(counted) == {0: (frame, frame, frame)}


def test_borders_against_ignored_regions_count_in_both_maps() -> None:
    gt = np.zeros((40, 40), np.uint8)
    gt[15:25, 15:25] = 255
    pred = np.zeros_like(gt)
    counted = as_dict(boundary_areas(gt, pred, 1))
    edge = 40**2 - 38**2 + 12**2 - 10**2
    assert counted == {0: (edge, edge, edge)}


@given(st.data())
def test_a_right_answer_reaches_100_whatever_it_says_where_nothing_is_scored(
    data: st.DataObject,
) -> None:
    shape = data.draw(st.tuples(st.integers(1, 30), st.integers(1, 30)))
    gt = data.draw(blocky_maps([0, 1, 2, 255], shape))
    inside = data.draw(blocky_maps([0, 1, 2, 255], shape))
    pred = np.where(gt == 255, inside, gt)
    counted = boundary_areas(gt, pred, 3, dilation_ratio=0.1)
    assert counted.intersection.tolist() == counted.gt.tolist() == counted.pred.tolist()


def test_an_outline_that_nobody_drew_costs_nothing() -> None:
    """As VOC draws objects: a void ring around each, which a label map fills with something."""
    gt = np.zeros((120, 160), np.uint8)
    gt[30:90, 40:120] = 255
    gt[36:84, 46:114] = 7
    for filled in (np.where(gt == 255, 0, gt), np.where(gt == 255, 7, gt), gt):
        areas = accumulated([boundary_areas(gt, filled.astype(np.uint8), 21)], 21)
        assert np.nanmin(areas.iou) == 100


def test_nothing_is_counted_where_everything_is_ignored() -> None:
    gt, pred = np.full((9, 9), 255, np.uint8), np.zeros((9, 9), np.uint8)
    assert as_dict(boundary_areas(gt, pred, 2)) == {}


@pytest.mark.parametrize(("num_labels", "ignore_label"), [(300, 65535), (256, 256)])
def test_wide_vocabularies(num_labels: int, ignore_label: int) -> None:
    narrow = np.zeros((30, 30), np.uint8)
    narrow[:, 12:] = 255 if num_labels > 255 else 1
    wide = narrow.astype(np.uint16)
    wide[:5, :5] = ignore_label
    counted = boundary_areas(wide, narrow, num_labels, ignore_label)
    assert counted.labels.tolist() == [0, 255]
    scored = wide != ignore_label
    answer = np.where(scored, narrow.astype(np.uint16), ignore_label)
    for position, label in enumerate((0, 255)):
        guess = boundary_of(answer == label, 1) & scored
        assert counted.pred[position] == guess.sum()
        assert counted.gt[position] == (boundary_of(wide == label, 1) & scored).sum()


@pytest.mark.filterwarnings("error")
def test_boundary_iou_is_taken_over_the_set() -> None:
    first = BoundaryAreas(*np.array([[0, 2], [5, 0], [8, 0], [7, 4]]))
    second = BoundaryAreas(*np.array([[0], [3], [4], [6]]))
    areas = accumulated([first, second], 4)
    assert areas.gt.dtype == np.int64
    np.testing.assert_allclose(areas.iou, [100 * 8 / 17, np.nan, 0, np.nan])
    np.testing.assert_array_equal(accumulated([], 2).iou, [np.nan, np.nan])
