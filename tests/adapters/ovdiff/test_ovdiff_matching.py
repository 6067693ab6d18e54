"""The nearest prototype of each class, computed block by block."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from ovbench.adapters.ovdiff.matching import PrototypeSet, Segment, blocks, nearest_similarity


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


@pytest.mark.parametrize("budget", [1, 100, 777, 40_000, 2**25])
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


@pytest.mark.parametrize("height", [1, 3, 7, 100])
def test_blocks_hold_every_prototype_once_within_the_budget(height: int) -> None:
    segments = [Segment(0, 0, 3), Segment(1, 3, 3), Segment(2, 3, 12), Segment(3, 20, 22)]
    found = list(blocks(segments, height))
    pieces = [piece for block in found for piece in block]
    taken = [(piece.row, i) for piece in pieces for i in range(piece.start, piece.stop)]
    assert taken == [(s.row, i) for s in segments for i in range(s.start, s.stop)]
    for block in found:
        assert sum(piece.stop - piece.start for piece in block) <= height
        assert block[-1].stop - block[0].start <= height  # adjacent, so that it is one slice
    if height == 100:
        assert [len(block) for block in found] == [2, 1]
