"""Otsu's method for three classes: the two thresholds between which values vary least.

Liao, Chen and Chung, "A Fast Algorithm for Multilevel Thresholding" (2001). The numbers are
those of scikit-image's ``threshold_multiotsu``, which the released code of OVDiff calls.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 256


def multi_otsu(values: npt.NDArray[np.floating[Any]]) -> tuple[float, float] | None:
    """The lower and the upper threshold; a value that reaches one is above it.

    All pairs of bins are tried: 32,640 of them.

    Args:
        values: of any shape, finite.

    Returns:
        None where the values fall into fewer than three bins.
    """
    counts, edges = np.histogram(values, BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    (filled,) = np.nonzero(counts)
    if len(filled) < 3:
        return None
    if len(filled) == 3:
        return float(centres[filled[0]]), float(centres[filled[1]])
    share = counts / counts.sum()
    mass = np.append(0, np.cumsum(share))
    moment = np.append(0, np.cumsum(share * np.arange(1, BINS + 1)))
    ends = np.arange(1, BINS + 1)
    lower = _spread(mass, moment, np.zeros(1, np.intp), ends)[0]
    middle = _spread(mass, moment, ends, ends)
    upper = _spread(mass, moment, ends, np.array([BINS]))[:, 0]
    between = lower[:, None] + middle + upper[None, :]
    between[np.tril_indices(BINS)] = -1  # the first class ends before the second
    first, second = np.unravel_index(np.argmax(between[:, :-1]), (BINS, BINS - 1))
    return float(centres[first]), float(centres[second])


def _spread(
    mass: npt.NDArray[np.float64],
    moment: npt.NDArray[np.float64],
    starts: npt.NDArray[np.intp],
    ends: npt.NDArray[np.intp],
) -> npt.NDArray[np.float64]:
    """What the bins ``start`` to ``end`` add to the variance between classes, for all pairs."""
    weight = mass[ends][None, :] - mass[starts][:, None]
    total = moment[ends][None, :] - moment[starts][:, None]
    empty = weight <= 0
    return np.where(empty, 0.0, total**2 / np.where(empty, 1.0, weight))
