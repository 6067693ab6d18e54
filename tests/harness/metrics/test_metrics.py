"""Counting against a double loop, torchmetrics and scikit-learn; scores against arithmetic."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ovbench.errors import ContractError, DataError, UsageError
from ovbench.harness.metrics.scores import (
    UNANSWERED,
    Confusion,
    areas,
    confusion,
    scores,
)
from ovbench.harness.metrics.tally import Tally

Labels = npt.NDArray[Any]
UNSIGNED = (np.uint8, np.uint16, np.uint32)


def ignore_label_for(num_labels: int) -> int:
    return 255 if num_labels <= 255 else 65535


@st.composite
def label_maps(draw: st.DrawFn) -> tuple[Labels, Labels, int]:
    """Maps made of runs, so that long runs, noise and everything between occur."""
    num_labels = draw(st.sampled_from([1, 2, 21, 255, 256, 300, 1000]))
    ignore = ignore_label_for(num_labels)
    label = st.integers(0, num_labels - 1)
    run = st.tuples(st.one_of(label, st.just(ignore)), label, st.integers(1, 60))
    runs = draw(st.lists(run, min_size=1, max_size=25))
    gt, pred, lengths = (np.array(column) for column in zip(*runs, strict=True))
    pixels = int(lengths.sum())
    height = draw(st.integers(1, pixels))
    shape = (height, pixels // height)
    gt_dtype = draw(st.sampled_from([d for d in UNSIGNED if ignore <= np.iinfo(d).max]))
    pred_dtype = draw(st.sampled_from([d for d in UNSIGNED if num_labels - 1 <= np.iinfo(d).max]))
    size = shape[0] * shape[1]
    return (
        np.repeat(gt, lengths)[:size].reshape(shape).astype(gt_dtype),
        np.repeat(pred, lengths)[:size].reshape(shape).astype(pred_dtype),
        num_labels,
    )


def count_slowly(gt: Labels, pred: Labels, ignore_label: int) -> list[tuple[int, int, int]]:
    pairs: Counter[tuple[int, int]] = Counter()
    for y in range(gt.shape[0]):
        for x in range(gt.shape[1]):
            if gt[y, x] != ignore_label:
                pairs[int(gt[y, x]), int(pred[y, x])] += 1
    return [(*pair, pixels) for pair, pixels in sorted(pairs.items())]


def triplets(counted: Confusion) -> list[tuple[int, int, int]]:
    return list(
        zip(counted.gt.tolist(), counted.pred.tolist(), counted.pixels.tolist(), strict=True)
    )


def random_maps(
    num_labels: int, shape: tuple[int, int] = (40, 50), absent: tuple[int, ...] = ()
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Noise with some ignored pixels, predictions right about half the time."""
    rng = np.random.default_rng(num_labels)
    labels = [label for label in range(num_labels) if label not in absent]
    gt = rng.choice(labels, shape).astype(np.uint8)
    pred = np.where(rng.random(shape) < 0.5, gt, rng.choice(labels, shape)).astype(np.uint8)
    gt[rng.random(shape) < 0.1] = 255
    return gt, pred


@settings(max_examples=300)
@given(label_maps())
@example((np.full((1, 9), 255, np.uint8), np.zeros((1, 9), np.uint8), 1))
@example((np.full((64, 64), 255, np.uint8), np.zeros((64, 64), np.uint8), 21))
@example((np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint8), 1))
@example((np.zeros((0, 5), np.uint8), np.zeros((0, 5), np.uint8), 2))
def test_confusion_equals_a_double_loop(case: tuple[Labels, Labels, int]) -> None:
    gt, pred, num_labels = case
    ignore = ignore_label_for(num_labels)
    counted = confusion(gt, pred, num_labels, ignore)
    assert triplets(counted) == count_slowly(gt, pred, ignore)
    assert (counted.gt.dtype, counted.pred.dtype) == (np.int32, np.int32)
    assert counted.pixels.dtype == np.int64
    assert counted.void is not None
    void = dict(zip(counted.void.pred.tolist(), counted.void.pixels.tolist(), strict=True))
    assert void == dict(Counter(pred[gt == ignore].tolist()))


def test_the_largest_vocabularies_stay_sparse() -> None:
    rng = np.random.default_rng(0)
    gt, pred = rng.integers(0, 65535, (2, 30, 40)).astype(np.uint16)
    assert triplets(confusion(gt, pred, 65535, 65535)) == count_slowly(gt, pred, 65535)


def test_confusion_takes_views() -> None:
    gt, pred = random_maps(21, (41, 53))
    gt, pred = gt[1::2, ::-1], pred[1::2, ::-1]
    assert triplets(confusion(gt, pred, 21)) == count_slowly(gt, pred, 255)


@pytest.mark.parametrize("num_labels", [2, 21, 255])
def test_confusion_agrees_with_scikit_learn(num_labels: int) -> None:
    from sklearn.metrics import confusion_matrix

    gt, pred = random_maps(num_labels)
    scored = gt != 255
    expected = confusion_matrix(gt[scored], pred[scored], labels=np.arange(num_labels))
    found = Tally.of([confusion(gt, pred, num_labels)], num_labels).confusion
    np.testing.assert_array_equal(found[:, :-1], expected)


@pytest.mark.parametrize("absent", [(), (3, 7)])
def test_iou_agrees_with_torchmetrics(absent: tuple[int, ...]) -> None:
    """Both leave classes without any pixel out of the mean; per class, theirs is 0, ours nan."""
    import torch
    import torchmetrics

    gt, pred = random_maps(21, absent=absent)
    ours = scores(Tally.of([confusion(gt, pred, 21)], 21).areas().total, background=False)
    tensors = torch.from_numpy(pred).long(), torch.from_numpy(gt).long()

    def theirs(average: str) -> Any:
        metric = torchmetrics.JaccardIndex(
            task="multiclass", num_classes=21, ignore_index=255, average=average
        )
        return 100 * metric(*tensors).numpy()

    np.testing.assert_allclose(np.nan_to_num(ours.iou), theirs("none"), rtol=1e-5)
    assert tuple(np.flatnonzero(np.isnan(ours.iou))) == absent
    assert ours.miou == pytest.approx(float(theirs("macro")), rel=1e-5)


def test_prediction_outside_the_vocabulary_is_refused() -> None:
    gt = np.zeros((10, 10), np.uint8)
    pred = np.zeros((10, 10), np.uint8)
    pred.flat[:37] = 200
    message = "prediction holds 37 pixels of label 200, outside the vocabulary's 21 labels"
    with pytest.raises(ContractError, match=message):
        confusion(gt, pred, 21)
    gt[:] = 255
    with pytest.raises(ContractError, match=message):
        confusion(gt, pred, 21)


def test_void_is_allowed_only_where_the_ground_truth_is_void() -> None:
    gt = np.array([[0, 255, 255, 1]], np.uint8)
    pred = np.array([[0, 255, 1, 1]], np.uint8)
    with pytest.raises(ContractError, match="1 pixels of label 255"):
        confusion(gt, pred, 2)
    counted = confusion(gt, pred, 2, unanswered="void")
    assert triplets(counted) == [(0, 0, 1), (1, 1, 1)]
    assert counted.void is not None
    assert (counted.void.pred.tolist(), counted.void.pixels.tolist()) == ([1, UNANSWERED], [1, 1])
    with pytest.raises(ContractError, match="1 pixels of label 255"):
        confusion(np.zeros_like(gt), np.array([[0, 0, 0, 255]], np.uint8), 2, unanswered="void")
    with pytest.raises(ContractError, match="1 pixels of label 7"):
        confusion(gt, np.array([[0, 7, 1, 1]], np.uint8), 2, unanswered="void")


def test_ground_truth_outside_the_vocabulary_is_a_fault_of_the_data() -> None:
    gt, pred = np.full((2, 3), 21, np.uint8), np.zeros((2, 3), np.uint8)
    with pytest.raises(DataError, match="ground truth holds 6 pixels of label 21"):
        confusion(gt, pred, 21)


def test_shapes_must_agree() -> None:
    with pytest.raises(ContractError, match=r"shape \(3, 2\), the ground truth has \(2, 3\)"):
        confusion(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), 2)


@pytest.mark.parametrize("dtype", ["int64", "int8", "float32", "bool", "uint64"])
def test_dtypes_must_be_unsigned(dtype: str) -> None:
    gt = np.zeros((2, 3), np.uint8)
    with pytest.raises(ContractError, match=f"prediction has dtype {dtype};"):
        confusion(gt, np.zeros((2, 3), dtype), 2)
    with pytest.raises(ContractError, match=f"ground truth has dtype {dtype};"):
        confusion(np.zeros((2, 3), dtype), gt, 2)


@pytest.mark.parametrize("ignore_label", [0, 255, -1])
def test_the_ignore_label_must_be_outside_the_vocabulary(ignore_label: int) -> None:
    labels = np.zeros((2, 3), np.uint8)
    with pytest.raises(UsageError, match=f"ignore label {ignore_label} is one"):
        confusion(labels, labels, 256, ignore_label)


def test_areas_per_image_add_up_to_those_of_the_set() -> None:
    pairs = [random_maps(9, (7, 5 + i)) for i in range(6)]
    pairs.append((np.full((3, 3), 255, np.uint8), np.zeros((3, 3), np.uint8)))
    confusions = [confusion(gt, pred, 9) for gt, pred in pairs]
    tally = Tally.of(confusions, 9)
    stacked, whole = tally.areas(), areas(tally.confusion)
    for name in ("intersection", "gt", "pred", "union"):
        per_image = getattr(stacked, name)
        assert per_image.shape == (7, 9)
        np.testing.assert_array_equal(per_image.sum(axis=0), getattr(whole, name))
    for row, (gt, pred) in enumerate(pairs):
        scored = gt != 255
        for label in range(9):
            assert stacked.gt[row, label] == (gt == label).sum()
            assert stacked.pred[row, label] == ((pred == label) & scored).sum()
            assert stacked.intersection[row, label] == ((gt == label) & (pred == label)).sum()


def test_large_images_do_not_wrap_around() -> None:
    small = Confusion(*np.array([[1], [1], [5]]))
    large = Confusion(*np.array([[0, 1, 2, 3], [1, 1, 1, 1], [2**29] * 4]))
    found = Tally.of([small, large], 4).areas()
    assert found.union[:, 1].tolist() == [5, 2**31]
    assert found.pred[:, 1].tolist() == [5, 2**31]


# Rows are ground truth. Label 0 is background, 2 is predicted but not there, 3 is nowhere.
EXAMPLE = np.array([[5, 2, 1, 0], [1, 5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
IOU_0, IOU_1 = 500 / 9, 500 / 8


def test_scores_of_a_worked_example() -> None:
    result = scores(areas(EXAMPLE), background=True)
    np.testing.assert_allclose(result.iou, [IOU_0, IOU_1, 0, np.nan])
    np.testing.assert_allclose(result.accuracy, [500 / 8, 500 / 6, np.nan, np.nan])
    assert result.pixel_accuracy == pytest.approx(1000 / 14)
    assert result.mean_accuracy == pytest.approx((500 / 8 + 500 / 6) / 2)
    assert result.fwiou == pytest.approx((8 * IOU_0 + 6 * IOU_1) / 14)
    assert result.miou == result.definitions["union"]


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("union", (IOU_0 + IOU_1 + 0) / 3),
        ("gt_only", (IOU_0 + IOU_1) / 2),
        ("all_classes", (IOU_0 + IOU_1 + 0 + 0) / 4),
        ("union_without_background", (IOU_1 + 0) / 2),
        ("gt_only_without_background", IOU_1),
        ("all_classes_without_background", (IOU_1 + 0 + 0) / 3),
    ],
)
def test_every_definition_of_miou(definition: str, expected: float) -> None:
    result = scores(areas(EXAMPLE), background=True)
    assert result.definitions[definition] == pytest.approx(expected)


def test_some_labels_are_scored_alone() -> None:
    part = areas(EXAMPLE).take([1, 2])
    # What is predicted outside these classes stays a miss of theirs, and theirs elsewhere an error.
    np.testing.assert_allclose(part.iou, [IOU_1, 0])
    assert scores(part, background=False).miou == pytest.approx(IOU_1 / 2)
    assert scores(part, background=False).pixel_accuracy == pytest.approx(500 / 6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("confusions", [[], [Confusion(*np.zeros((3, 0), np.int64))]])
def test_an_empty_set_scores_nan(confusions: list[Confusion]) -> None:
    per_image = Tally.of(confusions, 3).areas()
    assert per_image.gt.shape == (len(confusions), 3)
    result = scores(per_image.total, background=True)
    single = (result.miou, result.pixel_accuracy, result.mean_accuracy, result.fwiou)
    assert all(math.isnan(v) for v in (*single, *result.definitions.values()))
    assert np.isnan([result.iou, result.accuracy]).all()
