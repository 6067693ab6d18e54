"""What is counted on an image, and every score that follows from it.

One image yields sparse confusion triplets ``(gt, pred, pixels)``. Added up over a set they
give each class's intersection, ground-truth and predicted pixels, and those give mIoU, pixel
accuracy, mean accuracy and frequency-weighted IoU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ovbench.errors import ContractError, DataError, UsageError
from ovbench.harness.contract.arrays import LabelMap

Counts: TypeAlias = npt.NDArray[np.int64]
Pixels: TypeAlias = npt.NDArray[np.signedinteger[Any]]
Percentages: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]

UNANSWERED: Final = -1
"""In place of a predicted label, where a prediction holds the ignore label itself."""

Unanswered: TypeAlias = Literal["refuse", "void", "miss"]
"""Where a prediction may hold the ignore label: nowhere, where the ground truth does, or anywhere,
which on a scored pixel is a miss: the class of the ground truth loses it and no other gains it."""

# Histogramming runs of equal pixels costs less than histogramming pixels until there is
# about one run to six pixels; label maps have one to 15 - 150, noise one to one.
_PIXELS_PER_RUN = 6
_BLOCK = 2048  # images


@dataclass(frozen=True, slots=True, eq=False)
class Void:
    """The pixels of one image that are not scored, by predicted label.

    Attributes:
        pred: predicted labels, each once, int32; :data:`UNANSWERED` where there is none.
        pixels: how many pixels have that label, int64, positive.
    """

    pred: npt.NDArray[np.int32]
    pixels: Counts


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """The pixels of one image by ground-truth and predicted label.

    Three arrays of equal length, sorted by ``gt``, then ``pred``; pairs without pixels and
    ignored pixels are left out.

    Attributes:
        gt: ground-truth labels, int32.
        pred: predicted labels, int32; :data:`UNANSWERED` where there is none.
        pixels: how many pixels have that pair, int64, positive.
        void: what was predicted on the ignored pixels; None where nobody counted that.
    """

    gt: npt.NDArray[np.int32]
    pred: npt.NDArray[np.int32]
    pixels: Counts
    void: Void | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Areas:
    """Pixels per label, ``(num_labels,)``, or per image and label, ``(images, num_labels)``.

    Attributes:
        intersection: pixels that have the label in ground truth and prediction, int64; of images
            also int32, where twice their pixels are within it.
        gt: pixels that have it in the ground truth, of the same type.
        pred: pixels that have it in the prediction and are not ignored, of the same type.
    """

    intersection: Pixels
    gt: Pixels
    pred: Pixels

    @property
    def union(self) -> Pixels:
        """Pixels that have the label in ground truth or prediction."""
        return self.gt + self.pred - self.intersection

    def take(self, labels: Sequence[int]) -> Areas:
        """The areas of some labels, in this order; nothing is copied where it is all of them."""
        chosen = list(labels)
        if chosen == list(range(self.gt.shape[-1])):
            return self
        return Areas(self.intersection[..., chosen], self.gt[..., chosen], self.pred[..., chosen])

    @property
    def total(self) -> Areas:
        """Of a set, the sums over its images, ``(num_labels,)`` int64."""
        return Areas(*(found.sum(axis=0) for found in (self.intersection, self.gt, self.pred)))

    def blocks(self) -> Iterator[Areas]:
        """A set cut into parts of some thousand images, whose scores take little memory."""
        for start in range(0, len(self.gt), _BLOCK):
            rows = slice(start, start + _BLOCK)
            yield Areas(self.intersection[rows], self.gt[rows], self.pred[rows])

    @property
    def iou(self) -> Percentages:
        """Intersection over union in percent, nan where the union is empty."""
        return _percent(self.intersection, self.union)

    @property
    def accuracy(self) -> Percentages:
        """Recall in percent, nan where the ground truth is empty."""
        return _percent(self.intersection, self.gt)


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of a set of images, in percent; nan where undefined.

    Attributes:
        miou: ``definitions["union"]``.
        pixel_accuracy: pixels labelled correctly.
        mean_accuracy: mean of ``accuracy`` over the classes with ground-truth pixels.
        fwiou: mean of ``iou`` weighted with each class's share of the ground truth.
        iou: per label, ``(num_labels,)`` float64.
        accuracy: recall per label, ``(num_labels,)`` float64.
        definitions: mIoU by the names of
            :data:`~ovbench.harness.metrics.definitions.MIOU_DEFINITIONS` that these areas decide.
    """

    miou: float
    pixel_accuracy: float
    mean_accuracy: float
    fwiou: float
    iou: Percentages
    accuracy: Percentages
    definitions: Mapping[str, float]


def confusion(
    gt: LabelMap,
    pred: LabelMap,
    num_labels: int,
    ignore_label: int = 255,
    *,
    unanswered: Unanswered = "refuse",
) -> Confusion:
    """Count the pixels of one image by ground-truth and predicted label.

    Memory does not grow with ``num_labels``. On two uint8 maps the time does not either.

    Args:
        gt: ground truth, ``(H, W)`` uint8, uint16 or uint32.
        pred: prediction, same shape, uint8, uint16 or uint32.
        num_labels: size of the vocabulary; labels are ``0 .. num_labels - 1``.
        ignore_label: ground-truth value of pixels that are not scored, outside the
            vocabulary.
        unanswered: where the prediction may hold ``ignore_label``, as label files do.

    Raises:
        ContractError: shapes differ, a dtype is not one of those above, or the prediction
            holds a label outside the vocabulary, be it on an ignored pixel.
        DataError: the ground truth holds a label that is neither in the vocabulary nor
            ``ignore_label``.
        UsageError: ``ignore_label`` is in the vocabulary.
    """
    check_ignore_label(ignore_label, num_labels)
    _check_maps(gt, pred)
    gts, preds, pixels = count_pairs(gt, pred)
    scored = gts != ignore_label
    answers = preds != ignore_label
    if unanswered == "refuse":
        answers[:] = True
    elif unanswered == "void":
        answers |= scored
    _check_labels("prediction", preds[answers], pixels[answers], num_labels, ContractError)
    preds[~answers] = UNANSWERED
    void = Void(preds[~scored].astype(np.int32), pixels[~scored])
    gts, preds, pixels = gts[scored], preds[scored], pixels[scored]
    _check_labels("ground truth", gts, pixels, num_labels, DataError)
    order = np.lexsort((preds, gts))  # what is unanswered was last of its kind and is now first
    return Confusion(
        gts[order].astype(np.int32), preds[order].astype(np.int32), pixels[order], void
    )


def answered_only(gt: LabelMap, pred: LabelMap, ignore_label: int) -> LabelMap:
    """The ground truth without the pixels that are left out for want of an answer.

    Args:
        gt, pred: ``(H, W)``; if their shapes differ, nothing is left out.
        ignore_label: of both.
    """
    if gt.shape != pred.shape:
        return gt
    left_out = (pred == ignore_label) & (gt != ignore_label)
    if not left_out.any():
        return gt
    return np.where(left_out, np.array(ignore_label, gt.dtype), gt)


def count_pairs(gt: LabelMap, pred: LabelMap) -> tuple[Counts, Counts, Counts]:
    """How often each pair of values occurs at the same pixel of two maps.

    Args:
        gt, pred: any shape, the same for both; uint8, uint16 or uint32.

    Returns:
        First values, second values and numbers of pixels (positive), int64, sorted by the
        first value, then the second.
    """
    first, second = gt.ravel(), pred.ravel()
    ends = _run_ends(first, second)
    lengths = None
    if np.count_nonzero(ends) * _PIXELS_PER_RUN < first.size:
        last = _sparse_flatnonzero(ends)
        first, second = first[last], second[last]
        lengths = last + 1
        lengths[1:] -= lengths[:-1].copy()
    if first.dtype == second.dtype == np.uint8:
        return _histogram_bytes(first, second, lengths)
    return _histogram_wide(first, second, lengths)


def areas(matrix: Counts) -> Areas:
    """Each label's areas from a confusion matrix with ground truth in rows.

    A column behind those of the labels counts the pixels without an answer.
    """
    answered = matrix[:, : len(matrix)]
    return Areas(answered.diagonal().copy(), matrix.sum(axis=1), answered.sum(axis=0))


def miou_by_image(areas: Areas) -> Percentages:
    """mIoU (definition "union") of each image in percent, ``(images,)``; nan where no class occurs.

    Args:
        areas: of each image, ``(images, num_labels)``.
    """
    return np.concatenate([np.zeros(0), *(mean_over_classes(b.iou) for b in areas.blocks())])


def mean_over_classes(ious: Percentages) -> Percentages:
    """mIoU (definition "union") of each row of ``(n, num_labels)``; nan where no class occurs."""
    occurring = ~np.isnan(ious)
    classes = occurring.sum(axis=1)
    mious = np.full(len(ious), np.nan)
    np.divide(np.where(occurring, ious, 0).sum(axis=1), classes, out=mious, where=classes > 0)
    return mious


def scores(areas: Areas, background: bool) -> Scores:
    """Score a set of images.

    Args:
        areas: of the whole set, ``(num_labels,)``.
        background: label 0 is background; adds the definitions without it.
    """
    iou, accuracy = areas.iou, areas.accuracy
    in_gt = areas.gt > 0
    definitions = _miou_definitions(iou, in_gt)
    if background:
        without = _miou_definitions(iou[1:], in_gt[1:])
        definitions |= {f"{name}_without_background": v for name, v in without.items()}
    total = areas.gt.sum()
    return Scores(
        miou=definitions["union"],
        pixel_accuracy=float(_percent(areas.intersection.sum(), total)),
        mean_accuracy=mean_or_nan(accuracy[in_gt]),
        fwiou=float((iou[in_gt] * areas.gt[in_gt]).sum() / total) if total else np.nan,
        iou=iou,
        accuracy=accuracy,
        definitions=definitions,
    )


def _miou_definitions(iou: Percentages, in_gt: Flags) -> dict[str, float]:
    occurring = iou[~np.isnan(iou)]
    return {
        "union": mean_or_nan(occurring),
        "gt_only": mean_or_nan(iou[in_gt]),
        "all_classes": float(occurring.sum() / len(iou)) if len(occurring) else np.nan,
    }


def check_ignore_label(ignore_label: int, num_labels: int) -> None:
    """Refuse an ignore label that a class would need.

    Raises:
        UsageError: it is in the vocabulary.
    """
    if ignore_label < num_labels:
        raise UsageError(
            f"the ignore label {ignore_label} is one of the vocabulary's {num_labels} labels; give "
            "the dataset one beyond them, in its info and in its label maps (65535, with uint16)"
        )


def _check_maps(gt: LabelMap, pred: LabelMap) -> None:
    for name, labels in (("ground truth", gt), ("prediction", pred)):
        if labels.dtype.kind != "u" or labels.dtype.itemsize > 4:
            raise ContractError(
                f"{name} has dtype {labels.dtype}; labels are uint8, uint16 or uint32"
            )
    if gt.shape != pred.shape:
        raise ContractError(f"prediction has shape {pred.shape}, the ground truth has {gt.shape}")


def _check_labels(
    name: str,
    labels: Counts,
    pixels: Counts,
    num_labels: int,
    error: type[ContractError | DataError],
) -> None:
    outside = labels >= num_labels
    if outside.any():
        label = labels[outside].min()
        raise error(
            f"{name} holds {pixels[labels == label].sum()} pixels of label {label}, "
            f"outside the vocabulary's {num_labels} labels"
        )


def _run_ends(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> Flags:
    """True at the last pixel of every run; padded with False to a multiple of eight."""
    size = first.size
    ends = np.empty(size + -size % 8, dtype=bool)
    inner = ends[:size][:-1]
    np.not_equal(first[1:], first[:-1], out=inner)
    inner |= second[1:] != second[:-1]
    ends[:size][-1:] = True
    ends[size:] = False
    return ends


def _sparse_flatnonzero(flags: Flags) -> npt.NDArray[np.intp]:
    """``np.flatnonzero`` of mostly False flags: eight at a time, then within the eights."""
    words = flags.view(np.uint64)
    found = (words != 0).nonzero()[0]
    bits = words[found].view(bool).nonzero()[0]
    positions: npt.NDArray[np.intp] = found[bits >> 3] * 8 + (bits & 7)
    return positions


def _histogram_bytes(
    first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8], weights: Counts | None
) -> tuple[Counts, Counts, Counts]:
    stride = int(second.max(initial=0)) + 1
    codes = first.astype(np.uint16)
    codes *= stride
    codes += second
    counts = np.bincount(codes, weights)  # weights make it float64, exact to 2**53
    found = (counts != 0).nonzero()[0]
    return found // stride, found % stride, counts[found].astype(np.int64)


def _histogram_wide(
    first: npt.NDArray[Any], second: npt.NDArray[Any], weights: Counts | None
) -> tuple[Counts, Counts, Counts]:
    codes = first.astype(np.uint64)
    codes <<= 32
    codes |= second
    found, index = np.unique(codes, return_inverse=True)
    counts = np.bincount(index, weights, minlength=len(found))
    low = found & 0xFFFFFFFF
    return (found >> 32).astype(np.int64), low.astype(np.int64), counts.astype(np.int64)


def _percent(part: Pixels, whole: Pixels) -> Percentages:
    percent = np.full(np.shape(whole), np.nan)
    np.divide(100.0 * part, whole, out=percent, where=np.asarray(whole) > 0)
    return percent


def mean_or_nan(values: Percentages) -> float:
    """The mean of ``(n,)`` values, nan where there are none."""
    return float(values.mean()) if len(values) else np.nan
