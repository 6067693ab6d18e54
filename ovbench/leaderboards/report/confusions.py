"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ovbench.harness.metrics.scores import Counts

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One class that is taken for another one.

    Attributes:
        truth, answer: labels.
        pixels: of the class ``truth`` that were answered with ``answer``.
        share: of the class's pixels, 0 to 1.
    """

    truth: int
    answer: int
    pixels: int
    share: float


def row_shares(matrix: Counts) -> Shares:
    """Each true label's pixels by answer, rows add up to 1; zeros for a label that never occurs."""
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.zeros(matrix.shape)
    np.divide(matrix, totals, out=shares, where=totals > 0)
    return shares


def mistakes(matrix: Counts, most: int | None = None) -> list[Mistake]:
    """The mistakes that take the largest shares of their classes, largest first.

    Args:
        matrix: pixels, ground truth in rows.
        most: how many at most; None for all.
    """
    shares = row_shares(matrix)
    truths, answers = np.nonzero(matrix)
    found = [
        Mistake(truth, answer, int(matrix[truth, answer]), float(shares[truth, answer]))
        for truth, answer in zip(truths.tolist(), answers.tolist(), strict=True)
        if truth != answer
    ]
    found.sort(key=lambda one: (-one.share, -one.pixels, one.truth, one.answer))
    return found[:most]


def worst_mistake(found: Sequence[Mistake], truth: int) -> Mistake | None:
    """A class's largest mistake among ordered ones."""
    return next((one for one in found if one.truth == truth), None)
