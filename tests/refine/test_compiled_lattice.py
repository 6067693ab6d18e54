"""The compiled lattice against that of tensor operations: the same, number by number."""

from __future__ import annotations

import pytest
import torch

from ovbench.refine import dense_crf, permutohedral
from ovbench.refine.dense_crf import DenseCRF
from ovbench.refine.permutohedral import _build, _build_compiled

pytest.importorskip("numba")
from ovbench.refine.compiled_lattice import find_vertices

FIELDS = ("corners", "shares", "points", "point_shares", "starts", "neighbours", "blur")


def features(count: int, dimensions: int, spread: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(count, dimensions, generator=generator) - 0.3) * spread


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
        found = _build_compiled(points, find_vertices)
    finally:
        torch.set_num_threads(before)
    expected = _build(points)
    assert found.vertices == expected.vertices
    for field in FIELDS:
        one, other = getattr(found, field), getattr(expected, field)
        assert one.dtype == other.dtype, field
        assert torch.equal(one, other), field


def test_ties_and_whole_numbers_are_the_same() -> None:
    """Points on the borders of simplices go to the same side."""
    rows, columns = torch.meshgrid(torch.arange(20.0), torch.arange(30.0), indexing="ij")
    points = torch.stack([columns, rows, columns * 0, rows * 0, columns - rows], -1).reshape(-1, 5)
    for scale in (0.0, 0.25, 1.0):
        found, expected = _build_compiled(points * scale, find_vertices), _build(points * scale)
        for field in FIELDS:
            assert torch.equal(getattr(found, field), getattr(expected, field)), field


def test_the_crf_takes_it_where_it_can_and_labels_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = (features(40 * 50, 3, 200.0).abs().reshape(40, 50, 3)).to(torch.uint8).numpy()
    unary = features(40 * 50, 6, 3.0).T.reshape(6, 40, 50).contiguous()
    calls = []

    def counted(*arrays: object) -> object:
        calls.append(len(arrays))
        return find_vertices(*arrays)  # type: ignore[arg-type]

    monkeypatch.setattr(permutohedral, "_compiled", lambda: counted)
    dense_crf._spatial_kernel.cache_clear()
    found = DenseCRF().posterior(image, unary)
    assert len(calls) == 2
    monkeypatch.setattr(permutohedral, "_compiled", lambda: None)
    dense_crf._spatial_kernel.cache_clear()
    assert torch.equal(found, DenseCRF().posterior(image, unary))
    dense_crf._spatial_kernel.cache_clear()


def test_features_that_spread_too_far_are_refused() -> None:
    with pytest.raises(ValueError, match="spread too far"):
        _build_compiled(torch.tensor([[0.0] * 5, [1e6] * 5]), find_vertices)
