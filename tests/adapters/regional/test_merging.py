"""Regions joined by their features, and the pairs of places that are left."""

from __future__ import annotations

import pytest
import torch
from sklearn.cluster import DBSCAN
from torch import Tensor
from torch.nn.functional import normalize

from ovbench.adapters.regional.merging import allowed_pairs, merged, renumbered


def drawn(seed: int, count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    numbers = renumbered(torch.randint(0, count, (1, 9, 7), generator=generator))[0]
    centres = torch.randn(count, 3, generator=generator)
    noise = torch.randn(9, 7, 3, generator=generator)
    return numbers, (centres[numbers] + 0.2 * noise).permute(2, 0, 1)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("distance", [0.05, 0.2, 0.6])
def test_clusters_are_dbscans(seed: int, distance: float) -> None:
    numbers, features = drawn(seed, 8)
    found = merged(numbers, features, distance)
    unit = normalize(features, dim=0)
    count = int(numbers.max()) + 1
    means = torch.stack([unit[:, numbers == one].mean(dim=1) for one in range(count)])
    cosines = normalize(means, dim=1)[1:] @ normalize(means, dim=1)[1:].T
    dbscan = DBSCAN(metric="precomputed", eps=distance, min_samples=1)
    clusters = dbscan.fit_predict((cosines.max() - cosines).numpy())
    expected = torch.tensor([-1, *clusters.tolist()])[numbers]
    for one in found.unique():
        assert len(expected[found == one].unique()) == 1
    assert len(found.unique()) == len(expected.unique())
    assert ((found == 0) == (numbers == 0)).all()


def test_two_regions_stay_apart() -> None:
    numbers = torch.tensor([[0, 0, 1]])
    assert (merged(numbers, torch.ones(4, 1, 3), 2.0) == numbers).all()


def test_pairs() -> None:
    """Places 0 and 1 are of no mask, 2 and 3 of one, 4 of another."""
    numbers = torch.tensor([[0, 0, 1, 1, 2]])
    graph = torch.full((1, 5, 5), 0.2)
    graph[0].fill_diagonal_(1.0)
    graph[0, 0, 4] = graph[0, 4, 0] = 0.9
    graph[0, 2, 4] = graph[0, 4, 2] = 0.95
    expected = torch.eye(5, dtype=torch.bool)
    expected[0, 4] = expected[4, 0] = True  # alike, and one is free
    expected[2, 3] = expected[3, 2] = True  # of one region, alike or not
    assert (allowed_pairs(graph, numbers)[0] == expected).all()


def test_a_window_that_is_alike_all_over_looks_at_itself() -> None:
    found = allowed_pairs(torch.ones(1, 3, 3), torch.zeros(1, 3, dtype=torch.long))
    assert (found[0] == torch.eye(3, dtype=torch.bool)).all()
