"""A ViT-B's blocks in towers of other depths."""

from __future__ import annotations

from typing import Any

import pytest

from ovbench.adapters.parts.depth import check_blocks, early_blocks
from ovbench.errors import UsageError


class Tower:
    def __init__(self, layers: int) -> None:
        self.layers = layers
        self.checkpoint = self
        self.name = "a tower"


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (12, [3, 5, 8, 10]),
        (24, [7, 11, 17, 21]),
        (32, [10, 15, 23, 28]),
        (4, [0, 1, 2, 2]),
        (2, [0, 0, 0, 0]),
    ],
)
def test_the_same_share_of_the_depth(depth: int, expected: list[int]) -> None:
    tower: Any = Tower(depth)
    assert early_blocks(tower, [3, 5, 8, 10]) == expected


def test_there_is_always_a_block_before_the_last() -> None:
    tower: Any = Tower(1)
    with pytest.raises(UsageError, match="a tower has one block"):
        early_blocks(tower, [8])


@pytest.mark.parametrize("wrong", [-1, 11])
def test_what_is_no_early_block_of_a_vit_b(wrong: int) -> None:
    check_blocks("levels", range(11))
    with pytest.raises(ValueError, match="levels must lie between 0 and 10"):
        check_blocks("levels", [3, wrong])
