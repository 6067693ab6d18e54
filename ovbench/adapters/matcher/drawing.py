"""Prompts for SAM: random sets of the matched points, or of the centres of their clusters."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
"""``(n, 2)``, x and y in pixels."""

ALL_OF = 8
"""Of up to so many points every combination is a prompt; of more, random ones are."""

ROUNDS = 100


def prompt_sets(
    points: Points, fewest: int, most: int, samples: int, rng: np.random.Generator
) -> list[Points]:
    """Prompts of every number of points from ``fewest`` to ``most``, as far as there are points.

    Returns:
        Per number of points ``(prompts, number, 2)``.
    """
    count = len(points)
    return [
        points[_choices(count, number, samples, rng)]
        for number in range(min(fewest, count), min(most, count) + 1)
    ]


def _choices(
    count: int, number: int, samples: int, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """``(prompts, number)``, indices of points, none twice within a prompt."""
    if count <= ALL_OF:
        return np.array(list(combinations(range(count), number)), dtype=np.intp)
    return np.array([rng.choice(count, number, replace=False) for _ in range(samples)])


def cluster_centres(points: Points, clusters: int, rng: np.random.Generator) -> Points:
    """The centres of k-means with the seeding of k-means++, cut to whole pixels.

    Args:
        points: all different.
        clusters: fewer where there are fewer points.
    """
    centres = _seeds(points, min(clusters, len(points)), rng)
    for _ in range(ROUNDS):
        nearest = _squares(points, centres).argmin(axis=1)
        # A cluster that lost all of its points stays where it is.
        moved = [
            points[nearest == k].mean(axis=0) if (nearest == k).any() else centre
            for k, centre in enumerate(centres)
        ]
        if np.array_equal(moved, centres):
            break
        centres = np.array(moved)
    return np.floor(centres)


def _seeds(points: Points, clusters: int, rng: np.random.Generator) -> Points:
    chosen = [int(rng.integers(len(points)))]
    while len(chosen) < clusters:
        squares = _squares(points, points[chosen]).min(axis=1)
        chosen.append(int(rng.choice(len(points), p=squares / squares.sum())))
    return points[chosen]


def _squares(points: Points, centres: Points) -> npt.NDArray[np.float64]:
    """Squared distances ``(n, k)``."""
    squares: npt.NDArray[np.float64] = ((points[:, None] - centres) ** 2).sum(axis=-1)
    return squares
