"""Which cells of a picture match the reference's object, in both directions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

FEW = 40
"""Up to so many matches are all kept; of more, the better half."""


class Matches(NamedTuple):
    """Matches between cells of the reference and cells of the picture.

    Attributes:
        cells: ``(m,)``, of the picture, row by row, each once and in rising order.
        similarity: ``(m,)``, of the best pair that a cell is in.
    """

    cells: npt.NDArray[np.intp]
    similarity: npt.NDArray[np.float64]


def match_both_ways(similarity: npt.NDArray[np.float64], inside: npt.NDArray[np.bool_]) -> Matches:
    """Match the object's cells with the picture's, and those back with the reference's.

    Both times it is the assignment of the highest total. A match that comes back outside the
    object is dropped, unless all do; then the better half of many is kept.

    Args:
        similarity: ``(R, N)`` between the cells of all references and of the picture.
        inside: ``(R,)``, the cells of the objects, at least one.
    """
    forward = similarity[inside]
    rows, columns = linear_sum_assignment(forward, maximize=True)
    _, back = linear_sum_assignment(similarity.T[columns], maximize=True)
    # With more references' cells than the picture has, a cell is always matched back.
    returns = inside[back]
    if returns.any():
        rows, columns = rows[returns], columns[returns]
    scores = forward[rows, columns]
    kept = np.argsort(-scores, kind="stable")
    kept = kept[: len(kept) // 2] if len(kept) > FEW else kept
    kept = kept[np.argsort(columns[kept])]
    return Matches(columns[kept], scores[kept])
