"""From a map of similarities to points for SAM."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ovbench.adapters.ipseg.settings import Settled

Points = npt.NDArray[np.float64]
"""Places or positions, ``(n, 2)``: x and y."""

ROUNDS = 20
"""Of k-means, at most (released code)."""


class PointPrompt(NamedTuple):
    """Points for SAM.

    Attributes:
        points: x and y in pixels.
        labels: ``(n,)``, 1 on the object and 0 beside it.
    """

    points: Points
    labels: npt.NDArray[np.int64]


def point_prompt(
    similarities: npt.NDArray[np.floating],
    settings: Settled,
    frame: tuple[int, int],
    seed: int,
) -> PointPrompt:
    """Centres of the most similar places, then of the least similar ones.

    Args:
        similarities: ``(g, g)``.
        frame: height and width of the picture in whose pixels the points are.
        seed: of k-means.
    """
    best, worst = extremes(similarities, settings.points)
    found = [
        positions(
            k_means(places(chosen, settings), settings.centres, np.random.default_rng(seed)),
            settings.grid,
            frame,
        )
        for chosen in (best, worst)
    ]
    return PointPrompt(np.concatenate(found), np.repeat([1, 0], [len(part) for part in found]))


def extremes(
    similarities: npt.NDArray[np.floating], count: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Flat indices of the most and of the least similar places, the extreme one first.

    On a grid of less than twice ``count`` places each half is taken. Of equal places the first
    one goes first.
    """
    flat = similarities.ravel()
    count = max(1, min(count, flat.size // 2))
    return (
        np.argsort(-flat, kind="stable")[:count],
        np.argsort(flat, kind="stable")[:count],
    )


def places(indices: npt.NDArray[np.intp], settings: Settled) -> Points:
    """Column and row of flat indices."""
    rows = indices / settings.grid if settings.fractional_rows else indices // settings.grid
    return np.stack([indices % settings.grid, rows], axis=1).astype(np.float64)


def k_means(points: Points, count: int, rng: np.random.Generator) -> Points:
    """Centres of clusters of points, by Lloyd's rounds from ``count`` of the points themselves.

    Clusters that run empty are dropped (released code).

    Returns:
        At most ``count`` and at most as many as there are points.
    """
    centres = points[rng.choice(len(points), min(count, len(points)), replace=False)]
    for _ in range(ROUNDS):
        nearest = np.square(points[:, None] - centres).sum(axis=-1).argmin(axis=1)
        members = (points[nearest == i] for i in range(len(centres)))
        moved = np.array([cluster.mean(axis=0) for cluster in members if len(cluster)])
        if moved.shape == centres.shape and (moved == centres).all():
            break
        centres = moved
    return centres


def positions(places: Points, grid: int, frame: tuple[int, int]) -> Points:
    """The middles of places, in pixels of a picture of height and width ``frame``."""
    height, width = frame
    found: Points = (places + 0.5) * np.array([width, height]) / grid
    return found
