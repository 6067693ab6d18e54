"""Affinities of patches, against plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from ovbench.adapters.parts.affinity import (
    centred_softmax,
    cosine_graph,
    gaussian_neighbourhood,
)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_cosines_row_by_row() -> None:
    features = noise(2, 5, 2, 3) * torch.tensor([1.0, 7.0])[:, None, None, None]
    graph = cosine_graph(features)
    places = [(row, column) for row in range(2) for column in range(3)]
    for image in range(2):
        for i, (a, b) in enumerate(places):
            for j, (c, d) in enumerate(places):
                one, other = features[image, :, a, b], features[image, :, c, d]
                cosine = float(one @ other / (one.norm() * other.norm()))
                assert float(graph[image, i, j]) == pytest.approx(cosine, abs=1e-6)


@pytest.mark.parametrize(("beta", "gamma"), [(1.2, 3.0), (1.0, 5.0), (0.0, 2.0)])
def test_centred_softmax_leaves_out_what_is_below_the_mean_of_its_own_graph(
    beta: float, gamma: float
) -> None:
    graph = cosine_graph(noise(2, 4, 2, 3) + torch.tensor([0.0, 1.0])[:, None, None, None])
    found = centred_softmax(graph, beta=beta, gamma=gamma)
    for image in range(2):
        rows = graph[image].tolist()
        mean = sum(map(sum, rows)) / 36
        for i, row in enumerate(rows):
            over = [(value - beta * mean) * gamma for value in row]
            weights = [math.exp(value) if value >= 0 else 0.0 for value in over]
            expected = [weight / sum(weights) for weight in weights]
            assert found[image, i].tolist() == pytest.approx(expected, abs=1e-6)


def test_patches_that_are_all_alike_look_at_themselves() -> None:
    """Nothing reaches 1.2 times the mean there, of which the equation makes no number."""
    found = centred_softmax(cosine_graph(torch.ones(1, 3, 2, 2)), beta=1.2, gamma=3.0)
    torch.testing.assert_close(found, torch.eye(4)[None])


def test_neighbours_of_a_grid_that_is_not_square() -> None:
    found = gaussian_neighbourhood((2, 3), 5.0)
    for i in range(6):
        for j in range(6):
            squared = (i // 3 - j // 3) ** 2 + (i % 3 - j % 3) ** 2
            assert float(found[i, j]) == pytest.approx(math.exp(-squared / 50), abs=1e-6)
