"""Scores at evaluators' own sizes, against PyTorch's resizing and sums by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from ovbench.harness.metrics.resized import SIDES, foreground_at_sides, miou_at_sides


def resized(mask: np.typing.NDArray[np.bool_], side: int, mode: str) -> np.typing.NDArray[np.bool_]:
    grey = 255 * torch.from_numpy(mask)[None, None].float()
    corners = {} if mode == "nearest" else {"align_corners": False}
    found = interpolate(grey, (side, side), mode=mode, **corners)[0, 0].numpy()
    return np.asarray(found.round() > 0)


@pytest.mark.parametrize("shape", [(37, 500), (400, 400), (518, 123), (640, 480), (1500, 1031)])
def test_masks_are_brought_there_as_pytorch_does(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape)
    coarse = rng.random((3, 9, 7)) < [[[0.5]], [[0.5]], [[0.1]]]
    rows, columns = (np.arange(n) * m // n for n, m in zip(shape, (9, 7), strict=True))
    truth, answer, ignored = coarse[:, rows][:, :, columns]
    found = foreground_at_sides(truth, answer, ignored)
    assert set(found) == set(SIDES)
    for name, counts in found.items():
        side = SIDES[name]
        scored = ~resized(ignored, side, "nearest")
        shown = resized(truth, side, "bilinear" if name == "ipseg_1024" else "nearest") & scored
        given = resized(answer, side, "nearest") & scored
        expected = ((shown & given).sum(), shown.sum(), given.sum())
        off = 40 if name == "ipseg_1024" else 0  # what rounds to 0 or 1 of 255 hangs on a digit
        assert counts == pytest.approx(expected, abs=off)
    both, gt, pred = foreground_at_sides(truth, truth, ignored & False)["ipseg_1024"]
    if max(shape) < 1024:
        assert gt > pred == both  # the ground truth is widened, an answer is not


def test_sums_over_a_class_and_means_over_images() -> None:
    counts = [
        {"hsnet_400": (5, 10, 5), "ipseg_1024": (5, 10, 5)},
        {"hsnet_400": (0, 10, 10), "ipseg_1024": (0, 10, 10)},
        {"hsnet_400": (8, 8, 8), "ipseg_1024": (8, 8, 8)},
    ]
    found = miou_at_sides([3, 3, 7], counts)
    assert found == pytest.approx(
        {"hsnet_400": 100 * (5 / 30 + 1) / 2, "ipseg_1024": 100 * (0.5 + 0 + 1) / 3}
    )
    assert miou_at_sides([3, 3, 7], [{}, *counts[1:]]) == {}
