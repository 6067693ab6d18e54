"""An image cut into overlapping windows, and their scores put together again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor
from torch.nn import functional

from ovbench.harness.contract.arrays import Image
from ovbench.models.pixels.windows import window_starts


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of an image, in pixels; its end is exclusive.

    Attributes:
        times: how often its scores count.
    """

    top: int
    left: int
    bottom: int
    right: int
    times: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    def cut(self, image: Image) -> Image:
        """The part of an image ``(H, W, 3)``."""
        return np.ascontiguousarray(image[self.top : self.bottom, self.left : self.right])


def resized(image: Image, short_side: int, max_long_side: int) -> Image:
    """The image at its working size; Lanczos, as in the released code."""
    size = size_within((image.shape[0], image.shape[1]), short_side, max_long_side)
    return lanczos(image, size)


def size_within(size: tuple[int, int], short_side: int, max_long_side: int) -> tuple[int, int]:
    """Height and width with another shorter side, as torchvision computes them.

    What is left of a pixel of the longer side is cut off, and where that side would pass its
    limit, of the shorter one.
    """
    short, long = short_side, int(short_side * max(size) / min(size))
    limit = max(max_long_side, short_side)
    if long > limit:
        short, long = max(1, int(limit * short / long)), limit
    return (short, long) if size[0] <= size[1] else (long, short)


def lanczos(image: Image, size: tuple[int, int]) -> Image:
    """Resized by Pillow to a height and a width."""
    picture = PillowImage.fromarray(image)
    return np.asarray(picture.resize(size[::-1], PillowImage.Resampling.LANCZOS))


def windows_of(
    size: tuple[int, int], sides: Sequence[int], stride: int, *, whole: bool
) -> list[Window]:
    """The windows of an image, each once, sizes together.

    Args:
        size: height and width.
        sides: of square windows; along a shorter axis the window is the whole axis.
        whole: the whole image is one, too, and counts twice where a window is the whole
            image; without ``sides`` it is the only one.
    """
    height, width = size
    found = {
        Window(top, left, min(top + side, height), min(left + side, width)): None
        for side in sides
        for top, left in product(
            window_starts(height, side, stride), window_starts(width, side, stride)
        )
    }
    everything = Window(0, 0, height, width)
    if whole and everything in found:
        del found[everything]
        everything = replace(everything, times=2)
    if whole or not sides:
        found[everything] = None
    return list(found)


def by_size(windows: Sequence[Window], most: int) -> list[list[int]]:
    """Indices of windows of one size together, at most ``most`` in a group."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, window in enumerate(windows):
        groups.setdefault(window.size, []).append(index)
    return [
        members[i : i + most] for members in groups.values() for i in range(0, len(members), most)
    ]


def assembled(
    scores: Sequence[Sequence[Tensor]], windows: Sequence[Window], size: tuple[int, int]
) -> Tensor:
    """Scores over the whole image: the mean over feature spaces and windows.

    Args:
        scores: per window and feature space ``(K, h, w)``, on the grid of its features.
        size: height and width of the image that the windows cover.

    Returns:
        ``(K, H, W)`` float32.
    """
    first = scores[0][0]
    total = first.new_zeros(len(first), *size)
    count = first.new_zeros(size)
    for window, maps in zip(windows, scores, strict=True):
        place = (slice(window.top, window.bottom), slice(window.left, window.right))
        for one in maps:
            total[:, *place] += window.times * enlarged(one, window.size)
        count[place] += window.times * len(maps)
    return total.div_(count)


def enlarged(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """``(K, h, w)`` to ``(K, H, W)``; bilinear."""
    return functional.interpolate(scores[None], size, mode="bilinear", align_corners=False)[0]


class StrongestSoFar:
    """The arg-max over rows of scores that come a few at a time."""

    def __init__(self, size: tuple[int, int], device: torch.device) -> None:
        self.score = torch.full(size, -torch.inf, device=device)
        self.row = torch.zeros(size, dtype=torch.long, device=device)

    def add(self, scores: Tensor, first: int) -> None:
        """Compare with further rows ``(K, H, W)``, the first of which has a number."""
        best, row = scores.max(dim=0)
        better = best > self.score
        self.score[better] = best[better]
        self.row[better] = row[better] + first
