"""Input sizes, resizing and sliding windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage
from torch.nn import functional

from ovbench.models.pixels.inputs import fit_size, input_tensor
from ovbench.models.pixels.windows import slide, window_starts

CPU = torch.device("cpu")
PLAIN: dict[str, Any] = {"mean": (0, 0, 0), "std": (1, 1, 1), "device": CPU}


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((375, 500), (512, 688)),  # 682.67 goes to the nearest multiple of 16
        ((500, 375), (688, 512)),
        ((1, 1), (512, 512)),
        ((8, 2000), (16, 2048)),  # the long side decides, and a patch is the least
        ((1024, 2048), (512, 1024)),
    ],
)
def test_fit_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fit_size(size, short_side=512, max_long_side=2048, multiple=16) == expected


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(20, 27), (90, 100), (40, 61)])
def test_resizing_is_pillows(mode: Any, size: tuple[int, int]) -> None:
    # Away from black and white, where Pillow cuts off overshoots after each of two passes.
    image = np.random.default_rng(0).integers(64, 192, (40, 61, 3), dtype=np.uint8)
    kernel = {"bilinear": PillowImage.BILINEAR, "bicubic": PillowImage.BICUBIC}[mode]
    expected = np.asarray(PillowImage.fromarray(image).resize(size[::-1], kernel))
    resized = input_tensor(image, size, mode=mode, **PLAIN) * 255
    difference = np.abs(resized.permute(1, 2, 0).numpy() - expected)
    assert difference.max() <= 1.2  # Pillow rounds to whole numbers after each pass


def test_normalisation_is_per_channel() -> None:
    image = np.array([[[255, 0, 51]]], dtype=np.uint8)
    pixel = input_tensor(
        image, (1, 1), mean=(0.5, 0.25, 0.1), std=(0.5, 0.25, 0.1), mode="bilinear", device=CPU
    )
    torch.testing.assert_close(pixel[:, 0, 0], torch.tensor([1.0, -1.0, 1.0]))


def test_views_and_read_only_arrays() -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    mirrored = image[:, ::-1]
    mirrored.flags.writeable = False
    tensor = input_tensor(mirrored, (4, 6), mode="bilinear", **PLAIN)
    torch.testing.assert_close(tensor * 255, torch.tensor(mirrored.copy()).permute(2, 0, 1) * 1.0)


def test_window_starts_by_hand() -> None:
    assert window_starts(1024, 448, 224) == [0, 224, 448, 576]
    assert window_starts(448, 448, 224) == [0]
    assert window_starts(300, 448, 224) == [0]
    assert window_starts(672, 448, 224) == [0, 224]


@given(st.integers(1, 400), st.integers(1, 100), st.data())
def test_windows_cover_everything_and_fit(size: int, window: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, window))
    starts = window_starts(size, window, stride)
    covered = {x for start in starts for x in range(start, min(start + window, size))}
    assert covered == set(range(size))
    assert all(start + min(window, size) <= size for start in starts)
    assert starts == sorted(set(starts))


@pytest.mark.parametrize("size", [(16, 16), (40, 72), (64, 8)])
def test_sliding_over_a_local_function_changes_nothing(size: tuple[int, int]) -> None:
    images = torch.randn(2, 3, *size)
    slid = slide(images, lambda x: functional.avg_pool2d(x, 8), window=32, stride=16, cell=8)
    torch.testing.assert_close(slid, functional.avg_pool2d(images, 8))


def test_overlaps_are_averaged() -> None:
    seen = iter((1.0, 4.0))
    slid = slide(
        torch.zeros(1, 3, 8, 48),
        lambda x: torch.full((1, 1, 1, x.shape[-1] // 8), next(seen)),
        window=32,
        stride=16,
        cell=8,
    )
    assert slid.flatten().tolist() == [1, 1, 2.5, 2.5, 4, 4]
