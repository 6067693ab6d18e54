"""Label propagation against dense matrices and plain loops."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn.functional import normalize

from ovbench.refine import propagation
from ovbench.refine.propagation import patch_graph, pixel_graph, propagate, rgb_to_lab

RANDOM = torch.Generator().manual_seed(0)


def dense(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Divided by the roots of the sums, pair by pair."""
    sums = weights.sum(axis=1)
    sums[sums == 0] = 1
    return weights / np.sqrt(np.outer(sums, sums))


@pytest.mark.parametrize(("neighbours", "power"), [(3, 1.0), (5, 2.0), (99, 1.0)])
def test_patches_pair_by_pair(
    neighbours: int, power: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(propagation, "PAIRS", 20)
    features = normalize(torch.randn(9, 4, generator=RANDOM), dim=1)
    places = torch.randint(0, 40, (9, 2), generator=RANDOM)
    weights = np.zeros((9, 9))
    likeness = (features @ features.T).numpy()
    for i in range(9):
        for j in np.argsort(-likeness[i])[:neighbours]:
            far = math.dist(places[i].tolist(), places[j].tolist()) ** power
            weight = max(likeness[i, j], 0) ** 2 * math.exp(-0.05 * far)
            if i != j:
                weights[i, j] += weight
                weights[j, i] += weight
    found = patch_graph(
        features, places, neighbours=neighbours, sharpness=2, nearness=0.05, distance_power=power
    )
    np.testing.assert_allclose(found.to_dense(), dense(weights), atol=1e-6)


@pytest.mark.parametrize(("height", "width", "reach"), [(4, 5, 1), (3, 2, 6), (1, 7, 2), (1, 1, 1)])
def test_pixels_pair_by_pair(
    height: int, width: int, reach: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(propagation, "PAIRS", 20)
    lab = torch.rand(3, height, width, generator=RANDOM) * 20
    colours = (lab / torch.tensor([100, 128, 128])[:, None, None]).numpy()
    count = height * width
    weights = np.zeros((count, count))
    places = list(product(range(height), range(width)))
    for (i, one), (j, other) in product(enumerate(places), repeat=2):
        apart = max(abs(one[0] - other[0]), abs(one[1] - other[1]))
        if 0 < apart <= reach:
            far = np.linalg.norm(colours[:, one[0], one[1]] - colours[:, other[0], other[1]])
            weights[i, j] = math.exp(-far / 0.1)
    found = pixel_graph(lab, reach=reach, tau=0.1)
    np.testing.assert_allclose(found.to_dense(), dense(weights), atol=1e-6)


def test_each_column_is_solved_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(propagation, "COLUMNS", 2)
    lab = torch.rand(3, 6, 7, generator=RANDOM) * 50
    graph = pixel_graph(lab, reach=2, tau=0.1)
    scores = torch.randn(42, 5, generator=RANDOM)
    scores[:, 1] = 0  # nothing to do, and nothing to divide by
    found = propagate(graph, scores, alpha=0.9, iterations=200)
    exact = torch.linalg.solve(torch.eye(42) - 0.9 * graph.to_dense(), scores)
    torch.testing.assert_close(found, exact, atol=1e-4, rtol=1e-4)
    alone = propagate(graph, scores[:, 3:4], alpha=0.9, iterations=200)
    torch.testing.assert_close(found[:, 3:4], alone, atol=1e-6, rtol=1e-6)
    few = propagate(graph, scores, alpha=0.9, iterations=2)
    assert (few - exact).abs().max() > 1e-3
    assert not found[:, 1].any()


def test_colours_are_those_of_cie() -> None:
    """White, black, and the primaries of sRGB, as tables have them."""
    corners = torch.tensor([[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    expected = [
        [100, 0, 0],
        [0, 0, 0],
        [53.24, 80.09, 67.2],
        [87.73, -86.18, 83.18],
        [32.3, 79.19, -107.86],
    ]
    found = rgb_to_lab(corners.T[:, :, None])[:, :, 0].T
    torch.testing.assert_close(found, torch.tensor(expected), atol=0.02, rtol=0)
