"""Outliers among patches against plain loops, on grids that are not square."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ovbench.adapters.parts.anomalies import by_attention, by_density, by_norm, filled

GRID = (5, 8)


def patches(seed: int) -> Tensor:
    """Two images of tokens, some of which lie far from the others."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(2, 40, 6, generator=generator)
    tokens[0, [3, 17]] *= 9
    tokens[1, [0, 39]] += 7
    return tokens


@pytest.mark.parametrize("neighbours", [7, 30, 60])
def test_density_as_the_released_code_has_it(neighbours: int) -> None:
    """A reach distance per pair; sixty neighbours are more than there are."""
    tokens = patches(0)
    found = by_density(tokens, neighbours=neighbours, share=0.05)
    for image, mask in zip(tokens, found, strict=True):
        k = min(neighbours, len(image) - 1)
        near = []
        for i in range(len(image)):
            apart = [(float((image[i] - other).norm()) ** 2, j) for j, other in enumerate(image)]
            near.append(sorted(apart)[1 : k + 1])
        density = []
        for pairs in near:
            furthest = pairs[-1][0]
            density.append(k / (sum(max(d, furthest) for d, _ in pairs) / k))
        factors = torch.tensor(
            [
                sum(density[j] for _, j in pairs) / k / own
                for pairs, own in zip(near, density, strict=True)
            ]
        )
        assert torch.equal(mask, factors > factors.quantile(0.95))
    assert found.sum(dim=1).tolist() == [2, 2]
    if neighbours < 40:  # else a patch in the middle may be as far from the furthest of all
        assert found[0, [3, 17]].all()
        assert found[1, [0, 39]].all()


def test_no_outliers_among_equal_patches() -> None:
    assert not by_density(torch.ones(1, 40, 6), neighbours=30, share=0.05).any()


@pytest.mark.parametrize("most", [3, 100])
def test_attention(most: int) -> None:
    weights = torch.randn(2, 4, 13, 13, generator=torch.Generator().manual_seed(1)).softmax(-1)
    found = by_attention(weights, factor=1.5, most=most)
    for image, mask in zip(weights.mean(dim=1), found, strict=True):
        seen = {i: float(image[0, 1 + i]) * 1.5 for i in range(12)}
        looked_at = [i for i in seen if seen[i] > float(image[1 + i, 1 + i])]
        expected = sorted(looked_at, key=lambda i: -seen[i])[:most]
        assert mask.nonzero().flatten().tolist() == sorted(expected)
    assert (found.sum(dim=1) > 2).all()


def test_norm() -> None:
    assert by_norm(patches(0), most=2)[0].nonzero().flatten().tolist() == [3, 17]
    assert by_norm(patches(0), most=99).all()


def test_filling() -> None:
    """A corner all of whose neighbours are anomalous stays as it is."""
    tokens = patches(2)
    rows, columns = GRID
    anomalous = torch.zeros(2, 40, dtype=torch.bool)
    anomalous[0, [0, 1, 8, 9, 20]] = True
    anomalous[1, [7, 39, 15]] = True
    found = filled(tokens, anomalous, GRID)
    for image, mask, answer in zip(tokens, anomalous, found, strict=True):
        for row in range(rows):
            for column in range(columns):
                place = row * columns + column
                around = [
                    image[r * columns + c]
                    for r in range(max(row - 1, 0), min(row + 2, rows))
                    for c in range(max(column - 1, 0), min(column + 2, columns))
                    if not mask[r * columns + c]
                ]
                expected = image[place]
                if mask[place] and around:
                    expected = torch.stack(around).mean(dim=0)
                torch.testing.assert_close(answer[place], expected)
    assert torch.equal(found[0, 0], tokens[0, 0])
