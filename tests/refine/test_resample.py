"""Enlarging and blurring against SciPy and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch.nn import functional

from ovbench.refine.resample import enlarge, gaussian_blur


def planes(count: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(count, height, width, generator=torch.Generator().manual_seed(height))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.floats(0.2, 30, allow_nan=False, allow_infinity=False),
)
def test_blur_is_scipys(height: int, width: int, sigma: float) -> None:
    given_planes = planes(2, height, width)
    blurred = gaussian_blur(given_planes, sigma)
    for plane, ours in zip(given_planes.double().numpy(), blurred, strict=True):
        expected = ndimage.gaussian_filter(plane, sigma)
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_blur_keeps_what_is_the_same_everywhere() -> None:
    assert torch.allclose(gaussian_blur(torch.full((1, 30, 50), 0.7), 9.0), torch.tensor(0.7))


@pytest.mark.parametrize("size", [(97, 64), (12, 12), (30, 41), (500, 375)])
def test_spline_is_scikit_images_resize(size: tuple[int, int]) -> None:
    # skimage.transform.resize(order=3, mode="constant") calls this and keeps the range.
    small = planes(2, 12, 14).round()
    enlarged = enlarge(small, size, "spline")
    for plane, ours in zip(small.double().numpy(), enlarged, strict=True):
        factors = [new / old for new, old in zip(size, plane.shape, strict=True)]
        expected = ndimage.zoom(plane, factors, order=3, mode="grid-constant", grid_mode=True)
        np.testing.assert_allclose(ours, expected.clip(plane.min(), plane.max()), atol=1e-5)


@pytest.mark.parametrize(("kind", "corners"), [("bilinear", False), ("bilinear_corners", True)])
def test_bilinear_is_pytorchs(kind: str, corners: bool) -> None:
    small = planes(3, 7, 5)
    expected = functional.interpolate(
        small[None], (40, 33), mode="bilinear", align_corners=corners
    )[0]
    torch.testing.assert_close(enlarge(small, (40, 33), kind), expected)


@pytest.mark.parametrize("kind", ["spline", "bilinear", "bilinear_corners"])
def test_no_planes_and_single_pixels(kind: str) -> None:
    assert enlarge(torch.zeros(0, 4, 4), (8, 9), kind).shape == (0, 8, 9)
    one = enlarge(torch.ones(1, 4, 4), (1, 1), kind)
    assert one.shape == (1, 1, 1)
    assert gaussian_blur(one, 0.05).shape == (1, 1, 1)
