"""Every definition of mIoU in use: papers print different numbers for the same label maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from ovbench.harness.metrics.scores import (
    Areas,
    Counts,
    mean_or_nan,
    miou_by_image,
    scores,
)

MIOU_DEFINITIONS: Final[Mapping[str, str]] = {
    "union": "mean over the classes that occur in ground truth or prediction (mmsegmentation)",
    "gt_only": "mean over the classes that occur in the ground truth (detectron2 since 2022-07)",
    "all_classes": "mean over the whole vocabulary; a class that occurs nowhere counts as 0",
    "union_without_background": "as union, background left out of the mean",
    "gt_only_without_background": "as gt_only, background left out of the mean",
    "all_classes_without_background": "as all_classes, background left out of the mean",
    "void_as_background": "as gt_only, ignored pixels scored as background (PnP-OVSS on VOC)",
    "other_as_background": (
        "as gt_only, ignored pixels scored as one more class, background (PnP-OVSS on ADE20K)"
    ),
    "per_image": "mean over images of the mean over the classes that occur in the image",
    "per_image_class": (
        "mean over the pairs of an image and a class in its ground truth (IPSeg's code)"
    ),
    "hsnet_400": "as union on prompted images, all brought to 400 x 400 pixels (HSNet)",
    "matcher_518": "as hsnet_400, at 518 x 518 pixels (Matcher)",
    "ipseg_1024": (
        "mean over images of the prompted class's IoU, at 1024 x 1024 pixels, ground truth "
        "widened by bilinear enlargement (IPSeg's code)"
    ),
    "fb_iou": "mean of the IoU of all foreground and of background, episodes added up (HSNet)",
}
"""What each mIoU of a result averages over."""


def definitions(
    images: Areas,
    void: Counts | None,
    *,
    scored: Sequence[int] | None,
    background: bool,
    prompted: bool = False,
) -> dict[str, float]:
    """mIoU of a set under every definition that applies to it, in percent.

    Args:
        images: each image's areas, ``(images, num_labels)``.
        void: as in :class:`~ovbench.harness.metrics.tally.Tally`.
        scored: the labels to average over; None for all, which is what the definitions that
            score ignored pixels are for.
        background: label 0 is background.
        prompted: every image is asked for a class of its own.
    """
    total = images.total
    averaged = list(range(len(total.gt)) if scored is None else scored)
    classes = [label for label in averaged if label or not background]
    found = dict(scores(total.take(averaged), background and 0 in averaged).definitions)
    if scored is None and void is not None:
        if background:
            found["void_as_background"] = void_as_background(total, void)
        else:
            found["other_as_background"] = other_as_background(total, void)
    found["per_image"] = per_image_miou(images.take(averaged))
    found["per_image_class"] = per_image_class_miou(images.take(classes))
    if prompted and background:
        found["fb_iou"] = fb_iou(total)
    return found


def void_as_background(total: Areas, void: Counts) -> float:
    """Ignored pixels are background's in the ground truth.

    The evaluators of PnP-OVSS on VOC turn 255 into 0 before they count, and average over the
    classes with ground-truth pixels, background among them.

    Args:
        total: of the set, ``(num_labels,)``; label 0 is background.
        void: ``(num_labels + 1,)``, see :class:`~ovbench.harness.metrics.tally.Tally`.
    """
    gt, intersection = total.gt.copy(), total.intersection.copy()
    gt[0] += void.sum()
    intersection[0] += void[0]
    return _gt_only(Areas(intersection, gt, total.pred + void[:-1]))


def other_as_background(total: Areas, void: Counts) -> float:
    """Ignored pixels are those of one more class.

    The evaluators of PnP-OVSS on ADE20K (151 classes, 0 is "other") and, in the later code, on
    COCO-Stuff (183 values, 255 turned into 0) count what nobody labelled as a background class
    and average over the classes with ground-truth pixels, it among them. Who has to answer with a
    class everywhere scores 0 on it and pays for every ignored pixel.

    Args:
        total: of the set, ``(num_labels,)``; none of the labels is background.
        void: ``(num_labels + 1,)``, see :class:`~ovbench.harness.metrics.tally.Tally`. A
            pixel without an answer is answered with that class.
    """
    unanswered = total.gt.sum() - total.pred.sum()  # of the scored pixels
    return _gt_only(
        Areas(
            np.append(total.intersection, void[-1]),
            np.append(total.gt, void.sum()),
            np.append(total.pred + void[:-1], void[-1] + unanswered),
        )
    )


def per_image_miou(areas: Areas) -> float:
    """The mean over images of each image's own mIoU.

    Args:
        areas: of each image, ``(images, num_labels)``; an image counts if any of the labels
            occurs in its ground truth or prediction.
    """
    mious = miou_by_image(areas)
    return mean_or_nan(mious[~np.isnan(mious)])


def per_image_class_miou(areas: Areas) -> float:
    """The mean over images and the classes of their ground truths, every pair alike.

    IPSeg's code goes through folders of one class each, adds up every picture's IoU of that
    class and divides by the number of pictures; a picture of two classes lies in two folders.
    It scores at 1024 x 1024, with a ground truth that bilinear resizing has widened; these areas
    are the picture's own.

    Args:
        areas: of each image, ``(images, num_classes)``, background not among them.
    """
    return mean_or_nan(
        np.concatenate([np.zeros(0), *(part.iou[part.gt > 0] for part in areas.blocks())])
    )


def fb_iou(total: Areas) -> float:
    """HSNet's FB-IoU: the mean of the IoU of foreground and of background.

    Both are summed over all episodes, whatever their class; an episode holds one class, so the
    classes' areas add up to the foreground's.

    Args:
        total: of the set, ``(num_labels,)``; label 0 is background.
    """
    parts = Areas(
        *(
            np.array([pixels[0], pixels[1:].sum()])
            for pixels in (total.intersection, total.gt, total.pred)
        )
    )
    iou = parts.iou
    return mean_or_nan(iou[~np.isnan(iou)])


def _gt_only(total: Areas) -> float:
    return mean_or_nan(total.iou[total.gt > 0])
