"""Windows cover the image, and their scores are averaged where they overlap."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional
from torchvision import transforms

from ovbench.adapters.ovdiff.windows import (
    StrongestSoFar,
    Window,
    assembled,
    by_size,
    resized,
    size_within,
    windows_of,
)

CPU = torch.device("cpu")


def test_windows_of_the_papers_sizes() -> None:
    found = windows_of((448, 600), (448, 336), 224, whole=True)
    assert [w for w in found if w.size == (448, 448)] == [
        Window(0, 0, 448, 448),
        Window(0, 152, 448, 600),
    ]
    small = {(w.top, w.left) for w in found if w.size == (336, 336)}
    assert small == {(0, 0), (0, 224), (0, 264), (112, 0), (112, 224), (112, 264)}
    assert found[-1] == Window(0, 0, 448, 600)
    assert len(found) == 9
    assert windows_of((448, 600), (), 224, whole=False) == [Window(0, 0, 448, 600)]
    # A window as large as the image is the whole image, which then counts twice.
    assert windows_of((448, 448), (448,), 224, whole=False) == [Window(0, 0, 448, 448)]
    assert windows_of((448, 448), (448,), 224, whole=True) == [Window(0, 0, 448, 448, times=2)]


@pytest.mark.parametrize("size", [(40, 40), (40, 133), (97, 40), (7, 200)])
def test_every_pixel_is_in_a_window(size: tuple[int, int]) -> None:
    seen = np.zeros(size, int)
    for window in windows_of(size, (40, 30), 20, whole=False):
        seen[window.top : window.bottom, window.left : window.right] += 1
        assert max(window.size) <= 40
    assert seen.min() >= 1


def test_groups_hold_every_window_once_and_one_size_each() -> None:
    windows = windows_of((60, 100), (60, 45), 30, whole=True)
    groups = by_size(windows, most=3)
    assert sorted(i for group in groups for i in group) == list(range(len(windows)))
    for group in groups:
        assert len(group) <= 3
        assert len({windows[i].size for i in group}) == 1


def test_overlaps_are_averaged_over_windows_and_feature_spaces() -> None:
    generator = torch.Generator().manual_seed(0)
    windows = [Window(0, 0, 8, 8), Window(0, 4, 8, 12, times=2)]
    scores = [[torch.randn(2, n, n, generator=generator) for n in (3, 4)] for _ in windows]
    found = assembled(scores, windows, (8, 12))
    for y in range(8):
        for x in range(12):
            values = [
                functional.interpolate(one[None], (8, 8), mode="bilinear")[0, :, y, x - w.left]
                for w, maps in zip(windows, scores, strict=True)
                if w.left <= x < w.right
                for one in maps * w.times
            ]
            torch.testing.assert_close(found[:, y, x], torch.stack(values).mean(dim=0))


def test_the_strongest_row_is_found_a_few_rows_at_a_time() -> None:
    scores = torch.randn(7, 5, 6, generator=torch.Generator().manual_seed(0))
    strongest = StrongestSoFar((5, 6), CPU)
    for first in range(0, 7, 3):
        strongest.add(scores[first : first + 3], first)
    assert (strongest.row == scores.argmax(dim=0)).all()
    assert (strongest.score == scores.amax(dim=0)).all()


def test_narrow_images_keep_their_shape_within_the_limit() -> None:
    assert resized(np.zeros((50, 80, 3), np.uint8), 100, 400).shape == (100, 160, 3)
    assert resized(np.zeros((8, 1600, 3), np.uint8), 100, 400).shape == (2, 400, 3)
    assert resized(np.zeros((1, 1, 3), np.uint8), 100, 400).shape == (100, 100, 3)


@pytest.mark.parametrize("size", [(333, 500), (500, 333), (375, 500), (218, 640), (7, 7)])
def test_sizes_are_torchvisions(size: tuple[int, int]) -> None:
    resize = transforms.Resize(448, max_size=800)
    assert size_within(size, 448, 800) == tuple(resize(torch.zeros(1, *size)).shape[1:])
