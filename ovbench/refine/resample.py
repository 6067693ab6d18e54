"""Enlarging and blurring planes.

Splines and Gaussian blur are linear and act on each axis by itself: a stack of any number of
planes takes two matrix products, on a CPU or a GPU.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

Kind: TypeAlias = Literal["bilinear", "bilinear_corners", "spline"]
Matrix: TypeAlias = npt.NDArray[np.float64]

_PADDING = 12
"""Zeros put around the samples of a spline, as SciPy does for its mode "grid-constant"."""

_TRUNCATE = 4.0
"""A Gaussian ends at this many standard deviations, as SciPy's does."""


def enlarge(planes: Tensor, size: tuple[int, int], kind: Kind) -> Tensor:
    """Resize planes.

    Args:
        planes: ``(C, h, w)`` float.
        size: height and width of the result.
        kind: "bilinear" and "bilinear_corners" are PyTorch's, without and with
            ``align_corners``. "spline" is scikit-image's ``resize(order=3, mode="constant")``
            without anti-aliasing: cubic B-splines through the samples, fading to 0 beyond the
            outermost ones, kept within the range of the plane.

    Returns:
        ``(C, *size)``.
    """
    height, width = size
    if kind != "spline":
        return functional.interpolate(
            planes[:, None], size, mode="bilinear", align_corners=kind == "bilinear_corners"
        )[:, 0]
    enlarged = _apply(_spline(planes.shape[1], height), _spline(planes.shape[2], width), planes)
    lowest, highest = planes.amin(dim=(1, 2)), planes.amax(dim=(1, 2))
    return enlarged.clamp_(lowest[:, None, None], highest[:, None, None])


def gaussian_blur(planes: Tensor, sigma: float) -> Tensor:
    """Blur planes as ``scipy.ndimage.gaussian_filter`` does: reflected at the borders.

    Args:
        planes: ``(C, H, W)`` float.
        sigma: standard deviation in pixels.
    """
    _, height, width = planes.shape
    return _apply(_gaussian(height, sigma), _gaussian(width, sigma), planes)


def _apply(rows: Matrix, columns: Matrix, planes: Tensor) -> Tensor:
    left, right = (torch.as_tensor(m).to(planes) for m in (rows, columns))
    # The smaller product first.
    if rows.shape[0] * columns.shape[1] <= rows.shape[1] * columns.shape[0]:
        return left @ planes @ right.mT
    return left @ (planes @ right.mT)


@lru_cache(maxsize=8)
def _spline(old: int, new: int) -> Matrix:
    """From ``old`` to ``new`` samples at the centres of equal cells."""
    count = old + 2 * _PADDING
    # A cubic B-spline is 4/6 at its own knot and 1/6 at the neighbours: the coefficients of a
    # spline through given samples solve this system.
    through = (np.diag(np.full(count, 4.0)) + np.eye(count, k=1) + np.eye(count, k=-1)) / 6
    coefficients = np.linalg.solve(through, np.eye(count)[:, _PADDING : _PADDING + old])
    position = (np.arange(new) + 0.5) * old / new - 0.5 + _PADDING
    values: Matrix = _b_spline(position[:, None] - np.arange(count)) @ coefficients
    return values


def _b_spline(x: Matrix) -> Matrix:
    """The cubic B-spline around 0."""
    x = np.abs(x)
    inner, outer = 2 / 3 - x**2 + x**3 / 2, (2 - x) ** 3 / 6
    return np.where(x < 1, inner, np.where(x < 2, outer, 0.0))


@lru_cache(maxsize=8)
def _gaussian(size: int, sigma: float) -> Matrix:
    """From ``size`` samples to as many, (d c b a | a b c d | d c b a) beyond the ends."""
    radius = int(_TRUNCATE * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    source = (np.arange(size)[:, None] + offsets) % (2 * size)
    source = np.where(source < size, source, 2 * size - 1 - source)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], source), weights)
    return matrix
