from __future__ import annotations

import pytest

from ovbench.errors import UsageError
from ovbench.harness.profile.image_size import ImageSize
from ovbench.harness.profile.sweep import Configuration, Grid


def test_a_grid_is_every_combination_in_order() -> None:
    grid = Grid.parse(["a", "b"], "4, 1", "native,8x6", "bf16")
    small = ImageSize(8, 6)
    expected = [(m, "bf16", s, n) for m in "ab" for s in (None, small) for n in (4, 1)]
    assert list(grid) == [Configuration(*values) for values in expected]
    assert grid.words() == {
        "methods": ["a", "b"],
        "batch_sizes": [4, 1],
        "sizes": ["native", "8x6"],
        "precisions": ["bf16"],
    }


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ((["a", "a"], "1", "native", "fp32"), "method: each once"),
        ((["a"], "1,two", "native", "fp32"), "batch size 'two'"),
        ((["a"], "1,0", "native", "fp32"), "batch size '0'"),
        ((["a"], "-1", "native", "fp32"), "batch size '-1'"),
        ((["a"], "", "native", "fp32"), "batch size ''"),
        ((["a"], "2,1,2", "native", "fp32"), "batch size: each once"),
        ((["a"], "1", "8,8x8", "fp32"), "size: each once"),
        ((["a"], "1", "8,", "fp32"), "size ''"),
        ((["a"], "1", "0x4", "fp32"), "size '0x4'"),
        ((["a"], "1", "native", "fp32,int8"), "precision 'int8'"),
    ],
)
def test_an_item_that_is_none_is_refused(
    lists: tuple[list[str], str, str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        Grid.parse(*lists)
