"""How equal two sets of label maps are, pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

DATA = Path(__file__).parent / "data"

REQUIRED = 99.5
"""Per cent of equal pixels, in every image: what a preset that names released code owes it."""


def equal_pixels(
    found: Sequence[npt.NDArray[Any]], expected: Sequence[npt.NDArray[Any]]
) -> npt.NDArray[np.float64]:
    """Per image, the share of pixels with the same label, in per cent.

    Raises:
        AssertionError: another number of images, or another size of one.
    """
    assert len(found) == len(expected) > 0, (len(found), len(expected))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    pairs = zip(found, expected, strict=True)
    return np.array([100 * float((ours == theirs).mean()) for ours, theirs in pairs])


def require_equal(
    found: Sequence[npt.NDArray[Any]],
    expected: Sequence[npt.NDArray[Any]],
    at_least: float = REQUIRED,
) -> None:
    """Every image reaches a share of equal pixels, so that the mean does, too."""
    shares = equal_pixels(found, expected)
    low = {i: round(float(share), 3) for i, share in enumerate(shares) if share < at_least}
    assert not low, f"below {at_least} % (mean {shares.mean():.3f} %): {low}"
