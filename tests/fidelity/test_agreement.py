"""The measure itself."""

from __future__ import annotations

import numpy as np
import pytest
from agreement import equal_pixels, require_equal


def test_shares_are_per_image_and_in_per_cent() -> None:
    same, other = np.zeros((10, 20)), np.zeros((10, 20))
    other[0, :3] = 1
    assert equal_pixels([same, same], [same, other]).tolist() == [100, 98.5]


def test_one_image_below_the_bar_is_enough_to_fail_however_good_the_mean() -> None:
    same, other = np.zeros((10, 20)), np.zeros((10, 20))
    other[0, :2] = 1
    require_equal([same] * 9, [same] * 9)
    with pytest.raises(AssertionError, match=r"mean 99\.900 %\): \{9: 99\.0\}"):
        require_equal([same] * 10, [*[same] * 9, other])


def test_sizes_and_numbers_must_match() -> None:
    with pytest.raises(AssertionError):
        equal_pixels([], [])
    with pytest.raises(AssertionError):
        equal_pixels([np.zeros((2, 3))], [np.zeros((1, 3))])
