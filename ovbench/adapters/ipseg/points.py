"""From a map of similarities to points for SAM."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

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
    released = settings.k_means == "nan"
    best, worst = extremes(similarities, settings.points, released=released)
    found = [
        positions(
            _centres(places(chosen, settings), settings, seed),
            settings.grid,
            frame,
        )
        for chosen in (best, worst)
    ]
    return PointPrompt(np.concatenate(found), np.repeat([1, 0], [len(part) for part in found]))


def extremes(
    similarities: npt.NDArray[np.floating], count: int, *, released: bool = False
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Flat indices of the most and of the least similar places, the extreme one first.

    On a grid of less than twice ``count`` places each half is taken. Of equal places the first
    one goes first, or, as in the released code, the one that torch's sort happens to put there:
    it decides from where k-means starts. A picture that is no square has many equal places.
    """
    flat = similarities.ravel()
    count = max(1, min(count, flat.size // 2))
    if released:
        tensor = torch.from_numpy(flat)
        orders = [torch.argsort(v, descending=True).numpy() for v in (tensor, 1 - tensor)]
    else:
        orders = [np.argsort(v, kind="stable") for v in (-flat, flat)]
    return orders[0][:count], orders[1][:count]


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


def k_means_with_nan(points: Points, count: int) -> Points:
    """Centres of clusters as the released code finds them (``utils/kmeans_pytorch.py``).

    Torch's permutation of seed 0 says which points it starts from. A cluster that runs empty
    becomes NaN, which is nearest to every point from then on, so that in the end one centre is
    left, the mean of all. Distances are torch's, whose rounding decides between equal ones.

    Returns:
        The centres that are numbers, at least one.
    """
    data = torch.from_numpy(points).float()
    start = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    centres = data[start[:count]]
    for _ in range(ROUNDS):
        nearest = torch.cdist(data, centres).argmin(dim=1)
        moved = torch.stack([data[nearest == i].mean(dim=0) for i in range(len(centres))])
        if torch.equal(moved, centres):
            break
        centres = moved
    found: Points = centres[~centres.isnan().any(dim=1)].double().numpy()
    return found


def _centres(points: Points, settings: Settled, seed: int) -> Points:
    if settings.k_means == "nan":
        return k_means_with_nan(points, settings.centres)
    return k_means(points, settings.centres, np.random.default_rng(seed))


def positions(places: Points, grid: int, frame: tuple[int, int]) -> Points:
    """The middles of places, in pixels of a picture of height and width ``frame``."""
    height, width = frame
    found: Points = (places + 0.5) * np.array([width, height]) / grid
    return found
