"""The nearest prototype of each class, computed block by block."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from ovbench.adapters.ovdiff.matching import PrototypeSet, _blocks, nearest_similarity


def example(counts: tuple[int, ...]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(7, 5, 9, generator=generator)
    return features, [torch.randn(count, 7, generator=generator) for count in counts]


def by_einsum(features: torch.Tensor, classes: list[torch.Tensor]) -> torch.Tensor:
    unit = functional.normalize(features, dim=0)
    maps = [
        torch.einsum("pd,dhw->phw", functional.normalize(rows, dim=1), unit).amax(dim=0)
        for rows in classes
    ]
    return torch.stack(maps)


@pytest.mark.parametrize("budget", [1, 100, 777, 2**25])
def test_blocks_give_what_einsum_gives(budget: int) -> None:
    features, classes = example((3, 1, 12, 5))
    prototypes = PrototypeSet.of(classes)
    found = nearest_similarity(features, prototypes, range(4), budget)
    torch.testing.assert_close(found, by_einsum(features, classes))
    some = nearest_similarity(features, prototypes, [2, 0], budget)
    torch.testing.assert_close(some, found[[2, 0]])


def test_a_class_without_prototypes_is_like_nothing() -> None:
    features, classes = example((3, 0, 2))
    found = nearest_similarity(features, PrototypeSet.of(classes), range(3))
    assert (found[1] == -1).all()
    torch.testing.assert_close(found[[0, 2]], by_einsum(features, [classes[0], classes[2]]))


@pytest.mark.parametrize(
    ("rows", "columns", "most"), [(5, 7, 1), (5, 7, 12), (40, 3, 9), (4, 4, 99)]
)
def test_blocks_tile_the_matrix_within_the_budget(rows: int, columns: int, most: int) -> None:
    seen = torch.zeros(rows, columns)
    for some, span in _blocks(rows, columns, most):
        assert seen[some, span].numel() <= most
        seen[some, span] += 1
    assert (seen == 1).all()
