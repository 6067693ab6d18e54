"""Windows and their scores against mmsegmentation's loop: enlarge, add, divide, resize."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from ovbench.models.pixels import scores as strips
from ovbench.models.pixels.inputs import kept_ratio
from ovbench.models.pixels.labels import decide
from ovbench.models.pixels.scores import Scores, resizing
from ovbench.models.pixels.windows import Windows, window_starts

UINT16 = np.dtype(np.uint16)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def bilinear(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]


def looped(
    maps: Tensor,
    side: tuple[int, int],
    window: int,
    stride: int,
    multiple: int,
    size: tuple[int, int],
) -> Tensor:
    """Window after window at full size, as the released codes do it."""
    height, width = (min(window, s) if window else s for s in side)
    tops, lefts = (
        window_starts(s, length, stride) if window else [0]
        for s, length in zip(side, (height, width), strict=True)
    )
    total, count = torch.zeros(maps.shape[1], *side), torch.zeros(side)
    down, right = (-length % multiple for length in (height, width))
    for found, (top, left) in zip(maps, product(tops, lefts), strict=True):
        large = bilinear(found, (height + down, width + right))
        large = large[:, down // 2 :][:, :height, right // 2 :][:, :, :width]
        total[:, top : top + height, left : left + width] += large
        count[top : top + height, left : left + width] += 1
    return bilinear(total / count, size)


@settings(deadline=None)
@given(
    side=st.tuples(st.integers(5, 60), st.integers(5, 60)),
    window=st.integers(0, 40),
    stride=st.integers(3, 25),
    multiple=st.sampled_from([1, 7, 16]),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    places=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_merged_windows_are_the_loops(
    side: tuple[int, int],
    window: int,
    stride: int,
    multiple: int,
    size: tuple[int, int],
    places: tuple[int, int],
) -> None:
    stride = min(stride, window or stride)  # or pixels stay between windows
    windows = Windows.over(side, window, stride, multiple)
    cut = windows.cut(noise(2, *side))
    assert all(length % multiple == 0 for length in cut.shape[2:])
    maps = noise(len(cut), 3, *places)
    expected = looped(maps, side, window, stride, multiple, size)
    # PyTorch finds places in float32, which is 1e-5 of a pixel off where there are many.
    torch.testing.assert_close(windows.merge(maps, size).whole(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("window", "stride"), [(7, 3), (0, 1), (40, 40)])
def test_the_mean_of_windows_is_what_they_were_cut_from(window: int, stride: int) -> None:
    image = noise(2, 19, 30)
    windows = Windows.over((19, 30), window, stride)
    torch.testing.assert_close(windows.average(iter(windows.cut(image))), image)
    doubled = windows.average([*(windows.cut(image)[:-1]), windows.cut(image)[-1] * 2])
    assert torch.equal(doubled[:, 0, 0] == image[:, 0, 0], torch.tensor([window == 7] * 2))
    assert (doubled[:, -1, -1] == image[:, -1, -1] * 2).all()


def test_windows_are_cut_where_they_begin_with_zeros_around() -> None:
    pixels = noise(3, 20, 31)
    cut = Windows.over((20, 31), 12, 8, 8).cut(pixels)
    assert cut.shape == (8, 3, 16, 16)  # rows begin at 0, 8; columns at 0, 8, 16, 19
    torch.testing.assert_close(cut[7, :, 2:14, 2:14], pixels[:, 8:20, 19:31])
    assert not cut[7, :, :2].any()
    assert not cut[7, :, 14:].any()


@settings(deadline=None)
@given(places=st.integers(1, 9), wanted=st.integers(1, 40))
def test_resizing_one_axis_is_pytorchs(places: int, wanted: int) -> None:
    line = noise(1, 1, places)
    expected = functional.interpolate(line, wanted, mode="linear", align_corners=False)
    torch.testing.assert_close(resizing(places, wanted) @ line[0, 0], expected[0, 0])


@pytest.mark.parametrize("budget", [1, 5000, 2**22])
def test_strips_hold_every_score_once(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "CPU_BYTES", budget)
    maps = noise(11, 4, 5)
    for scores in (Scores(maps), Scores.enlarged(maps, (23, 17))):
        seen = torch.zeros(11, *scores.size)
        for first, top, values in scores.strips():
            height, queries, width = values.shape
            assert values.nbytes <= max(budget, width * 4)
            seen[first : first + queries, top : top + height] += 1
        assert (seen == 1).all()
    torch.testing.assert_close(scores.whole(), bilinear(maps, (23, 17)))


@pytest.mark.parametrize("budget", [1, 3000, 2**22])
@pytest.mark.parametrize("share", [None, 0.05, 0.3])
def test_decisions_against_all_probabilities_at_once(
    budget: int, share: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strips, "CPU_BYTES", budget)
    labels = np.array([0, 0, 1, 2, 2, 3, 400])
    maps, size = noise(7, 5, 6), (31, 44)
    maps[6] -= 1.5  # a class that is seldom the best
    probability = (bilinear(maps, size) * 2).softmax(dim=0)
    classes = [0, 1, 2, 3, 400]
    best = torch.stack([probability[torch.from_numpy(labels == c)].amax(dim=0) for c in classes])
    if share is not None:
        winner = best.argmax(dim=0)
        area = torch.bincount(winner.flatten(), minlength=5).float()
        area[0] = 0
        dropped = (area <= share * area.sum()) & (torch.arange(5) > 0)
        assert dropped.any()
        assert not dropped[1:].all()
        best[dropped] = 0
    expected = torch.tensor(classes)[best.argmax(dim=0)]
    expected[best.amax(dim=0) < 0.4] = 0
    found = decide(
        Scores.enlarged(maps, size),
        labels,
        dtype=UINT16,
        softmax_scale=2.0,
        background_below=0.4,
        area_share=share,
    )
    clear = (best.amax(dim=0) - 0.4).abs() > 1e-5
    assert 0.02 < (expected == 0).float().mean() < 0.98
    np.testing.assert_array_equal(found[clear], expected[clear])


def test_where_every_class_is_too_small_all_stay() -> None:
    """A share that no class reaches leaves nobody to answer but background, which is not asked."""
    maps = noise(3, 4, 4)
    labels = np.array([1, 2, 3])
    plain = decide(Scores.enlarged(maps, (9, 9)), labels, dtype=UINT16)
    strict = decide(Scores.enlarged(maps, (9, 9)), labels, dtype=UINT16, area_share=1.0)
    np.testing.assert_array_equal(plain, strict)


@pytest.mark.parametrize(
    ("size", "short", "expected"),
    [
        ((333, 500), 336, (336, 505)),  # not rounded to patches
        ((500, 375), 336, (448, 336)),
        ((1024, 2048), 560, (560, 1120)),
        ((10, 1000), 336, (20, 2048)),  # 20.48; the longer side decides
        ((1, 1), 336, (336, 336)),
    ],
)
def test_sizes_are_mmcvs(size: tuple[int, int], short: int, expected: tuple[int, int]) -> None:
    assert kept_ratio(size, short_side=short, max_long_side=2048) == expected
