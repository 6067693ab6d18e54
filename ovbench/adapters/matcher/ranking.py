"""How well a mask agrees with the matches, and which masks are joined."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from scipy.optimize import linear_sum_assignment, linprog

from ovbench.adapters.matcher.settings import MatcherSettings

Values = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

TINY = 1e-6


class Scores(NamedTuple):
    """Scores of a mask, or ``(n,)`` of n masks.

    Attributes:
        emd: 1 less the earth mover's distance between the object's cells and the mask's.
        purity: matched points per cell of the mask.
        coverage: the share of the matched points that are in the mask.
    """

    emd: Values
    purity: Values
    coverage: Values


def earth_movers_distance(cost: Values, cells: int) -> float:
    """The cost of moving one set of equal weights, of total 1, onto another.

    Args:
        cost: ``(n, m)``, per unit of weight.
        cells: 0 solves the transport problem as a linear program, exactly. Else both sets are
            brought to this many elements, or to their lowest common multiple if it is smaller,
            by repeating or leaving out elements evenly, and matched one to one: exact in the
            second case.
    """
    if not cells:
        return _transport(cost)
    size = min(math.lcm(*cost.shape), cells)
    rows, columns = (np.arange(size) * count // size for count in cost.shape)
    even = cost[np.ix_(rows, columns)]
    return float(even[linear_sum_assignment(even)].mean())


def _transport(cost: Values) -> float:
    n, m = cost.shape
    leaves = sparse.kron(sparse.eye(n), np.ones((1, m)))
    arrives = sparse.kron(np.ones((1, n)), sparse.eye(m))
    weights = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    plan = linprog(
        cost.ravel(), A_eq=sparse.vstack([leaves, arrives]).tocsr(), b_eq=weights, method="highs"
    )
    return float(plan.fun)


def score_masks(
    cost: Values, masks: Bools, points: npt.NDArray[np.intp], patch: int, cells: int
) -> Scores:
    """Score masks.

    Args:
        cost: ``(n, N)``, from the object's cells to the picture's, row by row.
        masks: ``(k, S, S)``, in pixels of the squashed picture.
        points: ``(m, 2)``, x and y of the matches in the same pixels.
        patch: pixels per cell; a mask holds every cell that it touches.
        cells: for :func:`earth_movers_distance`.
    """
    side = masks.shape[1] // patch
    touched = masks.reshape(-1, side, patch, side, patch).any(axis=(2, 4)).reshape(len(masks), -1)
    held = masks[:, points[:, 1], points[:, 0]].sum(axis=1)
    # As in the released code, an empty mask is compared as if it were the whole picture.
    compared = np.where(touched.any(axis=1, keepdims=True), touched, True)
    # Of many prompts most masks touch the same cells as another.
    different, which = np.unique(compared, axis=0, return_inverse=True)
    emd = np.array([1 - earth_movers_distance(cost[:, mask], cells) for mask in different])
    return Scores(
        emd[which.ravel()],
        held / np.maximum(touched.sum(axis=1), 1) + TINY,
        held / len(points) + TINY,
    )


def choose(scores: Scores, settings: MatcherSettings) -> tuple[npt.NDArray[np.intp], float]:
    """The masks to join, best first, and the best one's score.

    Args:
        scores: of at least one mask.
    """
    kept = np.arange(len(scores.emd))
    for values, least in (
        (scores.coverage, settings.least_coverage),
        (scores.emd, settings.least_emd),
        (scores.purity, settings.least_purity),
    ):
        kept = kept[values[kept] >= min(least, values[kept].max())]
    total = settings.alpha * scores.emd[kept]
    total += settings.beta * scores.purity[kept] * scores.coverage[kept] ** settings.exponent
    order = _best_first(total, settings)
    kept, total = kept[order], total[order]
    near = _near(total, settings) if settings.merge_by == "distance" else _high(total, settings)
    return kept[near][: settings.merged], float(total[0])


def _best_first(total: Values, settings: MatcherSettings) -> npt.NDArray[np.intp]:
    """Indices; of masks joined by their share of the best score only as many as are joined.

    Masks that touch the same cells have the same score, so that which of them are joined is left
    to whom the released code leaves it: torch's topk.
    """
    if settings.merge_by == "distance":
        return np.argsort(-total, kind="stable")
    best = torch.from_numpy(total).topk(min(settings.merged, len(total))).indices
    return best.numpy()


def _near(total: Values, settings: MatcherSettings) -> Bools:
    """Masks near enough to the reference; the best always is."""
    distances = 1 - total
    beyond = (distances - distances[0]) / (distances[-1] + TINY)
    near: Bools = (distances < settings.distance) & (beyond < settings.relative_distance)
    near[0] = True
    return near


def _high(total: Values, settings: MatcherSettings) -> Bools:
    """Masks whose score is a large share of the best one's, which itself always is."""
    high: Bools = total > settings.share * total[0]
    high[0] = True
    return high
