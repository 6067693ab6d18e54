"""A picture at several sizes, each in windows, whose scores are added.

The evaluation of PyTorch-Encoding (github.com/zhanghang1989/PyTorch-Encoding), as LSeg's released
code has it (additional_utils/models.py). Everything is resized bilinearly with the centres of the
outermost pixels in place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from ovbench.models.pixels.scores import Scores, resizing


def side_lengths(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Height and width with a longer side of so many pixels; the shorter is rounded half up."""
    height, width = size
    if height > width:
        return long_side, max(1, int(width * long_side / height + 0.5))
    return max(1, int(height * long_side / width + 0.5)), long_side


@dataclass(frozen=True, slots=True)
class Axis:
    """Windows along one side of a picture; the last one may reach beyond it.

    Attributes:
        side: pixels of the picture.
        window: pixels of every window.
        starts: where they begin.
    """

    side: int
    window: int
    starts: tuple[int, ...]

    @classmethod
    def of(cls, side: int, window: int, stride: int) -> Axis:
        beyond = max(side - window, 0)
        return cls(side, window, tuple(range(0, math.ceil(beyond / stride) * stride + 1, stride)))

    @property
    def lacking(self) -> int:
        """Pixels that the picture lacks for the last window."""
        return self.starts[-1] + self.window - self.side

    def merging(self, places: int, wanted: int) -> Tensor:
        """From all windows' places, side by side, to pixels; ``(wanted, windows * places)``.

        Every window is enlarged to its pixels, and those that several have are averaged.
        """
        enlarge = resizing(places, self.window, ends=True)
        merged = torch.zeros(self.side + self.lacking, len(self.starts), places)
        count = torch.zeros(self.side + self.lacking, 1)
        for i, start in enumerate(self.starts):
            merged[start : start + self.window, i] = enlarge
            count[start : start + self.window] += 1
        average = (merged.flatten(1) / count)[: self.side]
        return resizing(self.side, wanted, ends=True) @ average


@dataclass(frozen=True, slots=True)
class Grid:
    """Windows over a picture at one size.

    Attributes:
        rows, columns: along the height and along the width.
    """

    rows: Axis
    columns: Axis

    @classmethod
    def over(cls, size: tuple[int, int], window: int, stride: int) -> Grid:
        """Lay square windows over so many pixels."""
        height, width = (Axis.of(side, window, stride) for side in size)
        return cls(height, width)

    def cut(self, picture: Tensor, beyond: float) -> Tensor:
        """Every window of ``(3, H, W)``, row by row; ``(n, 3, window, window)``.

        Args:
            picture: of any size; it is resized to the grid's.
            beyond: what the pixels have that lie beyond it.
        """
        rows, columns = self.rows, self.columns
        resized = functional.interpolate(
            picture[None], (rows.side, columns.side), mode="bilinear", align_corners=True
        )[0]
        whole = functional.pad(resized, (0, columns.lacking, 0, rows.lacking), value=beyond)
        return torch.stack(
            [
                whole[:, top : top + rows.window, left : left + columns.window]
                for top, left in product(rows.starts, columns.starts)
            ]
        )

    def merge(self, maps: Tensor, size: tuple[int, int]) -> Scores:
        """What was found in every window, ``(n, Q, h, w)`` in the order of :meth:`cut`."""
        down, right = len(self.rows.starts), len(self.columns.starts)
        _, queries, height, width = maps.shape
        tiled = maps.reshape(down, right, queries, height, width).permute(2, 0, 3, 1, 4)
        return Scores(
            tiled.reshape(queries, down * height, right * width),
            self.rows.merging(height, size[0]),
            self.columns.merging(width, size[1]),
        )
