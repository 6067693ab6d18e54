"""Spectra of heads, their pairs and graphs of few singular values."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch

from ovbench.adapters.parts.spectra import (
    complements,
    decomposed,
    graph_spectrum,
    low_rank,
    to_range_of,
)

KEYS = torch.randn(3, 9, 5, generator=torch.manual_seed(0))


def test_spectrum_is_that_of_the_whole_graph() -> None:
    values = torch.linalg.eigvalsh((KEYS @ KEYS.mT).double()).flip(-1)[:, :4]
    expected = values / values.sum(-1, keepdim=True)
    torch.testing.assert_close(graph_spectrum(KEYS, 4), expected, atol=1e-6, rtol=1e-5)
    longer = graph_spectrum(KEYS, 8)  # five channels have five eigenvalues
    assert longer.shape == (3, 8)
    assert not longer[:, 5:].any()


def test_pairs_are_the_most_different_ones_together() -> None:
    ours, theirs = graph_spectrum(KEYS, 4), graph_spectrum(KEYS.flip(0) ** 3, 4)
    partner, weight = complements(ours, theirs)
    distance = [[float((a - b).abs().sum()) for b in theirs] for a in ours]
    best = max(
        permutations(range(3)), key=lambda order: sum(distance[i][order[i]] for i in range(3))
    )
    assert partner.tolist() == list(best)
    assert weight.tolist() == pytest.approx([distance[i][best[i]] for i in range(3)])


def test_swapped_pairs_are_read_the_wrong_way_round() -> None:
    ours = graph_spectrum(torch.randn(5, 9, 6, generator=torch.manual_seed(5)), 4)
    theirs = graph_spectrum(torch.randn(5, 9, 6, generator=torch.manual_seed(6)) ** 3, 4)
    right, weight = complements(ours, theirs)
    wrong, swapped = complements(ours, theirs, swapped=True)
    assert right.tolist() != wrong.tolist()
    assert right[wrong].tolist() == list(range(5))
    assert torch.equal(swapped, weight[wrong])


def test_heads_without_a_partner_have_no_weight() -> None:
    partner, weight = complements(graph_spectrum(KEYS, 4), graph_spectrum(KEYS[:2] ** 3, 4))
    assert sorted(partner[weight > 0].tolist()) == [0, 1]
    assert (weight == 0).sum() == 1


@pytest.mark.parametrize("stretch", [False, True])
@pytest.mark.parametrize("rank", [1, 3, 50])
def test_low_rank_is_that_of_the_svd(rank: int, stretch: bool) -> None:
    found = low_rank(decomposed(KEYS), rank=rank, energy=1.0, stretch=stretch)
    for graph, one in zip((KEYS @ KEYS.mT).double(), found, strict=True):
        left, values, right = torch.linalg.svd(graph)
        kept = min(rank, 5)
        values = values[:kept]
        if stretch and kept > 1:
            share = (values - values[-1]) / (values[0] - values[-1])
            values = share * (1.5 * values[0] - 0.5 * values[-1]) + 0.5 * values[-1]
        elif stretch:  # one value has nothing to be spread over
            values = values / 2
        expected = left[:, :kept] * values @ right[:kept]
        torch.testing.assert_close(one, expected.fill_diagonal_(0).float(), atol=1e-4, rtol=1e-5)


def test_rank_by_energy_is_the_least_that_has_it() -> None:
    keys = torch.diag(torch.tensor([6.0, 2.0, 1.0, 0.1])).double()[None] + 0.01
    values = decomposed(keys).values[0]
    share = values.cumsum(0) / values.sum()
    rank = int((share < 0.95).sum()) + 1
    assert rank == 2
    by_energy, by_rank = (
        low_rank(decomposed(keys), rank=asked, energy=0.95, stretch=False) for asked in (None, rank)
    )
    torch.testing.assert_close(by_energy, by_rank)


def test_range() -> None:
    other = torch.tensor([[[2.0, 6.0]], [[-1.0, 0.0]]])
    found = to_range_of(torch.tensor([[[0.0, 1.0, 4.0]], [[7.0, 7.0, 7.0]]]), other, (1, 2))
    assert found.flatten(1).tolist() == [[2.0, 3.0, 6.0], [-1.0, -1.0, -1.0]]
