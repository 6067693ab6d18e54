"""The compiled lattice against that of tensor operations: the same, number by number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ovbench.refine.permutohedral import build_lattice

pytest.importorskip("numba")
from ovbench.refine.compiled.lattice import find_vertices


def features(count: int, dimensions: int, spread: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(count, dimensions, generator=generator) - 0.3) * spread


def check(points: torch.Tensor) -> None:
    corners, shares, neighbours = map(torch.from_numpy, find_vertices(points.numpy()))
    expected = build_lattice(points)
    assert torch.equal(corners, expected.corners)
    assert torch.equal(shares, expected.shares)
    assert torch.equal(neighbours, expected.neighbours[:, :-1, 1:])


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("count", "d", "spread"),
    [(1, 5, 1.0), (2, 1, 9.0), (400, 1, 30.0), (9000, 2, 40.0), (9000, 5, 0.5), (9000, 5, 40.0),
     (50, 5, 4000.0)],
)  # fmt: skip
def test_it_is_the_lattice_of_tensors(count: int, d: int, spread: float, threads: int) -> None:
    points, before = features(count, d, spread), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        check(points)
    finally:
        torch.set_num_threads(before)


def test_ties_and_whole_numbers_are_the_same() -> None:
    """Points on the borders of simplices go to the same side."""
    rows, columns = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    points = torch.stack([columns, rows, columns * 0, rows * 0, columns - rows], -1).reshape(-1, 5)
    for scale in (0.0, 0.25, 1.0):
        check(points * scale)


def test_impossible_points_are_refused() -> None:
    with pytest.raises(ValueError, match="spread too far"):
        find_vertices(np.array([[0.0] * 5, [1e6] * 5], np.float32))
    with pytest.raises(ValueError, match="finite"):
        find_vertices(np.array([[0.0], [np.nan]], np.float32))
