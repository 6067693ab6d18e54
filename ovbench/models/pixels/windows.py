"""Sliding windows over a network's input, and what they found put together again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from ovbench.models.pixels.scores import Scores, resizing


def window_starts(size: int, window: int, stride: int) -> list[int]:
    """Where windows begin along one axis; the last is moved back so that it fits.

    The grid of mmsegmentation's ``slide_inference``.
    """
    count = max(size - window + stride - 1, 0) // stride + 1
    return [max(min(i * stride, size - window), 0) for i in range(count)]


@dataclass(frozen=True, slots=True)
class Axis:
    """Windows along one side of an input.

    Attributes:
        side: pixels of the input.
        starts: where each window begins, at any pixel.
        length: pixels of every window.
        before, after: pixels of zeros that each window is given on either side.
    """

    side: int
    starts: tuple[int, ...]
    length: int
    before: int
    after: int

    @classmethod
    def of(cls, side: int, window: int, stride: int, multiple: int) -> Axis:
        length = min(window, side) if window else side
        starts = tuple(window_starts(side, length, stride)) if window else (0,)
        lacking = -length % multiple
        return cls(side, starts, length, lacking // 2, lacking - lacking // 2)

    def merging(self, places: int, wanted: int) -> Tensor:
        """From all windows' places, side by side, to pixels; ``(wanted, windows * places)``.

        A window's places are enlarged to its pixels with its zeros, which are cut off. Where
        windows overlap they are averaged, and the whole is resized: all of it bilinearly.
        """
        enlarge = resizing(places, self.before + self.length + self.after)
        enlarge = enlarge[self.before : self.before + self.length]
        merged = torch.zeros(self.side, len(self.starts), places)
        for i, start in enumerate(self.starts):
            merged[start : start + self.length, i] = enlarge
        count = torch.zeros(self.side, 1)
        for start in self.starts:
            count[start : start + self.length] += 1
        return resizing(self.side, wanted) @ (merged.flatten(1) / count)


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows at any pixel of an input, as ``slide_inference`` of mmsegmentation lays them.

    Attributes:
        rows, columns: along the height and along the width.
    """

    rows: Axis
    columns: Axis

    @classmethod
    def over(cls, size: tuple[int, int], window: int, stride: int, multiple: int = 1) -> Windows:
        """Lay windows.

        Args:
            size: height and width of the input.
            window: side in pixels; a shorter side of the input has one window of its length. 0 is
                the whole input.
            stride: pixels between windows.
            multiple: every window is given zeros, evenly on both sides, up to a multiple of it.
        """
        height, width = (Axis.of(side, window, stride, multiple) for side in size)
        return cls(height, width)

    def cut(self, image: Tensor) -> Tensor:
        """Every window of an input ``(C, H, W)``, row by row; ``(n, C, h, w)``."""
        rows, columns = self.rows, self.columns
        parts = [
            image[:, top : top + rows.length, left : left + columns.length]
            for top, left in product(rows.starts, columns.starts)
        ]
        margins = (columns.before, columns.after, rows.before, rows.after)
        return functional.pad(torch.stack(parts), margins)

    def merge(self, maps: Tensor, size: tuple[int, int]) -> Scores:
        """What was found in every window, as scores at full size.

        Args:
            maps: ``(n, Q, h, w)``, in the order of :meth:`cut`.
            size: height and width of the result. The input's own size lies between: windows are
                averaged there, and the average is then resized.
        """
        down, right = len(self.rows.starts), len(self.columns.starts)
        _, queries, height, width = maps.shape
        tiled = maps.reshape(down, right, queries, height, width).permute(2, 0, 3, 1, 4)
        return Scores(
            tiled.reshape(queries, down * height, right * width).float(),
            self.rows.merging(height, size[0]),
            self.columns.merging(width, size[1]),
        )

    def average(self, maps: Iterable[Tensor]) -> Tensor:
        """The mean of windows where they overlap, for what is too large to be held of all at once.

        Args:
            maps: ``(Q, h, w)`` of every window at its own size, in the order of :meth:`cut`,
                without the zeros it was given.

        Returns:
            ``(Q, H, W)`` at the input's size.
        """
        rows, columns = self.rows, self.columns
        total: Tensor | None = None
        count = torch.zeros(rows.side, columns.side)
        places = product(rows.starts, columns.starts)
        for found, (top, left) in zip(maps, places, strict=True):
            if total is None:
                total = found.new_zeros(len(found), rows.side, columns.side)
            place = (slice(top, top + rows.length), slice(left, left + columns.length))
            total[:, *place] += found
            count[place] += 1
        assert total is not None  # there is always at least one window
        return total.div_(count.to(total.device))

    def splice(self, maps: Tensor, patch: int) -> Tensor:
        """Maps of every window averaged on one grid over the whole input.

        Args:
            maps: ``(n, d, h, w)``, in the order of :meth:`cut`; as many places in every patch.
            patch: side in pixels; windows begin, and the input ends, where patches do.

        Returns:
            ``(1, d, h', w')``.
        """
        height, width = maps.shape[2:]
        times = height * patch // self.rows.length
        size = self.rows.side // patch * times, self.columns.side // patch * times
        total, count = maps.new_zeros(1, maps.shape[1], *size), maps.new_zeros(size)
        for one, corner in zip(maps, product(self.rows.starts, self.columns.starts), strict=True):
            top, left = (start // patch * times for start in corner)
            total[0, :, top : top + height, left : left + width] += one
            count[top : top + height, left : left + width] += 1
        return total / count


def slide(
    images: Tensor,
    encode: Callable[[Tensor], Tensor],
    *,
    window: int,
    stride: int,
    cell: int,
) -> Tensor:
    """Encode overlapping windows and average where they overlap.

    Args:
        images: ``(B, 3, H, W)``.
        encode: from ``(B, 3, h, w)`` to ``(B, C, h / cell, w / cell)``.
        window: side in pixels; along a shorter axis the window is the whole axis.
        stride: pixels between windows.
        cell: pixels per output location; divides H, W, ``window`` and ``stride``.

    Returns:
        ``(B, C, H / cell, W / cell)``.
    """
    height, width = images.shape[-2:]
    rows, columns = (window_starts(side, window, stride) for side in (height, width))
    total: Tensor | None = None
    count = images.new_zeros(height // cell, width // cell)
    for top, left in product(rows, columns):
        part = encode(images[..., top : top + window, left : left + window])
        if total is None:
            total = part.new_zeros(*part.shape[:2], *count.shape)
        place = (
            slice(top // cell, top // cell + part.shape[-2]),
            slice(left // cell, left // cell + part.shape[-1]),
        )
        total[..., place[0], place[1]] += part
        count[place] += 1
    assert total is not None  # there is always at least one window
    return total / count
