"""The permutohedral lattice and mean field as the papers describe them, in plain Python.

Shares no code with the package; follows Adams et al. (2010), section 3, and Krähenbühl and
Koltun (2011), algorithm 1, one point and one class at a time.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Key = tuple[int, ...]
Row = npt.NDArray[np.float64]


def corners(point: Sequence[float]) -> list[tuple[Key, float]]:
    """The vertices around a point with its share of each."""
    d = len(point)
    scale = [math.sqrt(2 / 3) * (d + 1) / math.sqrt((i + 1) * (i + 2)) for i in range(d)]
    scaled = [p * s for p, s in zip(point, scale, strict=True)]
    elevated = [sum(scaled[i:]) - (i * scaled[i - 1] if i else 0) for i in range(d + 1)]
    nearest = [(d + 1) * math.ceil(e / (d + 1) - 0.5) for e in elevated]
    rest = [e - n for e, n in zip(elevated, nearest, strict=True)]
    order = sorted(range(d + 1), key=lambda i: -rest[i])
    excess = sum(nearest) // (d + 1)
    for _ in range(abs(excess)):
        # Too much: the coordinate that was rounded up most is lowered; too little: raised.
        # Among equal ones the last or the first, so that ties end as in the original.
        if excess > 0:
            worst = min(reversed(order), key=lambda i: rest[i])
        else:
            worst = max(order, key=lambda i: rest[i])
        change = -(d + 1) if excess > 0 else d + 1
        nearest[worst] += change
        rest[worst] -= change
    order = sorted(range(d + 1), key=lambda i: -rest[i])
    values = [rest[i] / (d + 1) for i in order]
    found = []
    for k in range(d + 1):
        # Corner k is k above the base, and the k coordinates with the largest rests have
        # fallen behind by d + 1 when counted from the other side of the simplex.
        share = values[d - k] - values[d - k + 1] if k else 1 + values[d] - values[0]
        key = [n + k for n in nearest]
        for i in order[d + 1 - k :] if k else []:
            key[i] -= d + 1
        found.append((tuple(key), share))
    return found


def gaussian_filter(points: npt.NDArray[np.float64], values: Row) -> Row:
    """Splat, blur and slice; ``(N, d)`` and ``(N, C)`` to ``(N, C)``."""
    d = points.shape[1]
    where = [corners(point) for point in points]
    table: dict[Key, Row] = defaultdict(lambda: np.zeros(values.shape[1]))
    for simplex, value in zip(where, values, strict=True):
        for key, share in simplex:
            table[key] = table[key] + share * value
    for direction in range(d + 1):
        blurred = {}
        for key, value in table.items():
            step = [d if i == direction else -1 for i in range(d + 1)]
            before = tuple(k - s for k, s in zip(key, step, strict=True))
            behind = tuple(k + s for k, s in zip(key, step, strict=True))
            nothing = np.zeros(values.shape[1])
            blurred[key] = value + 0.5 * (table.get(before, nothing) + table.get(behind, nothing))
        table = defaultdict(lambda: np.zeros(values.shape[1]), blurred)
    scale = 1 / (1 + 2.0**-d)
    return np.array([scale * sum(share * table[key] for key, share in s) for s in where])


def mean_field(
    image: npt.NDArray[np.uint8],
    unary: npt.NDArray[np.float64],
    iterations: int,
    stds: tuple[float, float, float],
    weights: tuple[float, float],
) -> npt.NDArray[np.float64]:
    """The posterior, ``(C, H, W)``."""
    count, height, width = unary.shape
    places = [(x, y) for y in range(height) for x in range(width)]
    spatial = np.array(places) / stds[0]
    colours = image.reshape(-1, 3) / stds[2]
    bilateral = np.concatenate([np.array(places) / stds[1], colours], axis=1)
    cost = unary.reshape(count, -1).T
    norms = [
        1 / np.sqrt(gaussian_filter(features, np.ones((len(places), 1))) + 1e-20)
        for features in (spatial, bilateral)
    ]
    belief = softmax(-cost)
    for _ in range(iterations):
        logits = -cost
        for features, norm, weight in zip((spatial, bilateral), norms, weights, strict=True):
            logits = logits + weight * norm * gaussian_filter(features, norm * belief)
        belief = softmax(logits)
    return belief.T.reshape(unary.shape)


def softmax(logits: Row) -> Row:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)
