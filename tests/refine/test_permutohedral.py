"""Lattice filtering against a plain Python lattice and the exact Gaussian sum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_lattice import gaussian_filter

from ovbench.refine.permutohedral import build_lattice


def features(count: int, dimensions: int, spread: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(count, dimensions, generator=generator) - 0.3) * spread


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 60), st.floats(0.01, 30), st.integers(0, 1000))
def test_filtering_is_the_plain_lattices(d: int, count: int, spread: float, seed: int) -> None:
    points = features(count, d, spread, seed)
    values = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))
    expected = gaussian_filter(points.double().numpy(), values.double().numpy())
    np.testing.assert_allclose(build_lattice(points).filter(values), expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize(("d", "tolerance"), [(1, 0.07), (2, 0.1), (3, 0.15), (5, 0.2)])
def test_filtering_comes_near_the_exact_gaussian(d: int, tolerance: float) -> None:
    # The lattice approximates: the normalised average, which is what matters, is off by this
    # much at most where points are dense.
    points = features(2000 if d < 5 else 4000, d, 3.0)
    values = (points[:, :1] > 0.5).float()
    both = build_lattice(points).filter(torch.cat([values, torch.ones_like(values)], dim=1))
    exact = torch.exp(-0.5 * torch.cdist(points, points) ** 2)
    error = both[:, 0] / both[:, 1] - (exact @ values)[:, 0] / exact.sum(dim=1)
    assert error.abs().max() < tolerance
    assert error.abs().mean() < tolerance / 4


def test_shares_are_barycentric() -> None:
    lattice = build_lattice(features(500, 5, 20.0))
    assert torch.allclose(lattice.shares.sum(dim=1), torch.tensor(1.0), atol=1e-5)
    assert lattice.shares.min() > -1e-5
    assert lattice.starts[-1] == len(lattice.points) == 500 * 6
    assert (lattice.corners < lattice.vertices).all()


def test_neighbours_are_mutual() -> None:
    lattice = build_lattice(features(300, 3, 4.0))
    some = 0
    for table in lattice.neighbours.tolist():
        assert table[-1] == [lattice.vertices] * 3
        for own, behind, before in table[:-1]:
            if behind < lattice.vertices:
                assert table[behind][2] == own
                some += 1
            if before < lattice.vertices:
                assert table[before][1] == own
    assert some > 100


def test_the_filter_is_symmetric_and_linear() -> None:
    lattice = build_lattice(features(60, 2, 5.0))
    matrix = lattice.filter(torch.eye(60))
    weights = torch.rand(60, 4)
    torch.testing.assert_close(matrix @ weights, lattice.filter(weights), rtol=1e-4, atol=1e-5)


def test_a_point_far_from_the_others_changes_nothing() -> None:
    near, values = features(40, 5, 3.0), torch.rand(41, 3)
    # 4000 deviations in five dimensions take keys of more than 32 bits.
    found = build_lattice(torch.cat([near, torch.full((1, 5), 4000.0)])).filter(values)
    torch.testing.assert_close(found[:40], build_lattice(near).filter(values[:40]))


def test_impossible_features_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        build_lattice(torch.tensor([[float("nan"), 0.0]]))
    with pytest.raises(ValueError, match="spread too far"):
        build_lattice(torch.tensor([[0.0] * 5, [1e6] * 5]))
