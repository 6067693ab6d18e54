"""How sure a mIoU is, and a difference between two: the jackknife over images.

Every image is left out once. How the score moves says how much it would vary if the images were
drawn anew, and in which direction so few images push it: a class that is rare here is scored low,
because a single picture in which it is missed or seen by mistake decides its IoU. (A bootstrap
loses rare classes in most of its resamples, so its percentiles can lie beside the score itself.)

``benchmarks/interval_coverage.py`` measures how often these intervals hold the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ovbench.harness.metrics.scores import Areas, Percentages, mean_over_classes

# The jackknife finds a bias to first order. Of a class that c images hold, higher orders are taken
# to add 4 / c of that: with it the benchmark's intervals hold the truth often enough.
_HIGHER_ORDERS = 4
# What the benchmark did not go below.
_FEWEST_IMAGES = 25
_MOST_ALONE = 1 / 3


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A score of a set of images with what it is when each one is left out; in percent.

    Attributes:
        value: of all images.
        left_out: without each image, ``(images,)`` float64; nan where nothing is left to score.
        biases: how far ``value`` lies above what endless images of the kind would give, by the
            label that is to blame, ``(num_labels,)`` float64; estimated.
    """

    value: float
    left_out: Percentages
    biases: Percentages

    def minus(self, other: Estimate) -> Estimate:
        """The difference to another score of the same images."""
        return Estimate(
            self.value - other.value, self.left_out - other.left_out, self.biases - other.biases
        )

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """An interval that holds ``value``; (nan, nan) where one image decides everything.

        From Student's t, around ``value`` and around what is left of it without the bias, from the
        lower end of the one to the upper end of the other.

        Args:
            level: how often it should hold the truth.
        """
        if not self._defined():
            return np.nan, np.nan
        from scipy.special import stdtrit

        *centres, freedom = self._centres()
        reach = float(stdtrit(freedom, (1 + level) / 2))
        return (
            min(centre - reach * error for centre, error in centres),
            max(centre + reach * error for centre, error in centres),
        )

    def p(self) -> float:
        """Two-sided, of the truth being 0: 1 minus the level at which the interval reaches it."""
        if not self._defined():
            return np.nan
        from scipy.special import stdtr

        (value, error), (corrected, wider), freedom = self._centres()
        if min(value, corrected) <= 0 <= max(value, corrected):
            return 1.0
        with np.errstate(divide="ignore"):
            reach = np.min(np.abs([value, corrected]) / np.array([error, wider]))
        return float(2 * stdtr(freedom, -reach))

    def _defined(self) -> bool:
        return len(self.left_out) > 1 and bool(np.isfinite(self.left_out).all())

    def _centres(self) -> tuple[tuple[float, float], tuple[float, float], float]:
        """The value, and the value without its bias, with their errors; degrees of freedom."""
        images = len(self.left_out)
        squares = (self.left_out - self.left_out.mean()) ** 2
        total = squares.sum()
        error = float(np.sqrt(total * (images - 1) / images))
        # The bias is a sum over labels: as unsure as they differ.
        doubt = float(np.sqrt(len(self.biases)) * self.biases.std())
        corrected = self.value - float(self.biases.sum())
        freedom = images - 1.0
        if total > 0 and (kurtosis := images * (squares**2).sum() / total**2) > 1:
            # A variance from n numbers is as sure as one from 2 n / (kurtosis - 1) normal ones.
            freedom = min(freedom, 2 * images / (kurtosis - 1))
        return (self.value, error), (corrected, float(np.hypot(error, doubt))), freedom


def miou_interval(areas: Areas, level: float = 0.95) -> tuple[float, float]:
    """Interval of mIoU (definition "union") in percent.

    Args:
        areas: of each image, ``(images, num_labels)``.
        level: how often it should hold the mIoU of endless images of the kind.

    Returns:
        Lower and upper bound, 0-100, the mIoU between them; nan for fewer than two images with
        scored pixels.
    """
    low, high = miou_estimate(areas).interval(level)
    return max(low, 0.0), min(high, 100.0)


def miou_estimate(areas: Areas) -> Estimate:
    """mIoU (definition "union"). Memory beside the areas does not grow with the labels.

    Args:
        areas: of each image, ``(images, num_labels)``.
    """
    images, num_labels = areas.gt.shape
    summed, classes = np.zeros(images), np.zeros(images, np.int64)
    biases = np.zeros(num_labels)
    for label in range(num_labels):
        one = label_estimate(areas, label)
        there = ~np.isnan(one.left_out)
        np.add(summed, one.left_out, out=summed, where=there)
        classes += there
        biases[label] = one.biases[0]
    left_out = np.full(images, np.nan)
    np.divide(summed, classes, out=left_out, where=classes > 0)
    total = areas.total
    value = float(mean_over_classes(total.iou[None])[0])
    return Estimate(value, left_out, biases / max(int(np.count_nonzero(total.union)), 1))


def label_estimate(areas: Areas, label: int) -> Estimate:
    """The IoU of one label.

    Args:
        areas: of each image, ``(images, num_labels)``.
    """
    images, one = len(areas.gt), areas.take([label])
    union, shared = (found[:, 0].astype(np.int64) for found in (one.union, one.intersection))
    whole = float(one.total.iou[0])
    rest = union.sum() - union
    left_out = np.full(images, np.nan)
    np.divide(100.0 * (shared.sum() - shared), rest, out=left_out, where=rest > 0)
    # A label that one image alone has is not there without it: nothing is known of its bias.
    moved = left_out.sum() - images * whole
    bias = moved * (images - 1) / max(images, 1) if np.isfinite(moved) else 0.0
    bias *= 1 + _HIGHER_ORDERS / max(int(np.count_nonzero(union)), 1)
    return Estimate(whole, left_out, np.array([bias]))


def too_few(areas: Areas) -> str | None:
    """Why the interval may miss the mIoU of endless images too often, in words; else None.

    Args:
        areas: of each image, ``(images, num_labels)``.
    """
    images = len(areas.gt)
    seen = np.count_nonzero(areas.union, axis=0)
    alone, occurring = np.count_nonzero(seen == 1), np.count_nonzero(seen)
    if images >= _FEWEST_IMAGES and alone <= _MOST_ALONE * occurring:
        return None
    return (
        f"too few images to trust the interval of mIoU: {images}, with {alone} of {occurring} "
        "classes in one of them alone"
    )
