"""From the tokens of four blocks to a vector per place: the neck of dense prediction transformers.

Ranftl, Bochkovskiy and Koltun, "Vision Transformers for Dense Prediction" (ICCV 2021), as LSeg has
it: the class token is projected into every patch, and residual units are normalised by batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ovbench.models.patches.encoder import PatchFeatures

LEVELS = 4
"""Blocks that are read, of which the first becomes the finest map."""

SIDE = 2
"""The deepest level halves the grid of patches, whose sides are therefore multiples of it."""

FINER = 8
"""Places that come of a patch, along both axes."""


class Sizes(NamedTuple):
    """Of a neck.

    Attributes:
        width: of the tokens.
        channels: of every level once it has its own resolution.
        fused: of what all levels become.
        joint: of the space of texts.
    """

    width: int
    channels: tuple[int, int, int, int]
    fused: int
    joint: int


class Residual(nn.Module):
    """Adds two normalised convolutions of its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, places: Tensor) -> Tensor:
        """``(B, channels, h, w)``, as given."""
        inner = self.bn1(self.conv1(functional.relu(places)))
        added: Tensor = self.bn2(self.conv2(functional.relu(inner)))
        return places + added


class Level(nn.Module):
    """One block's tokens at their own resolution, and how they join what lies deeper."""

    def __init__(self, level: int, sizes: Sizes) -> None:
        super().__init__()
        width, fused, channels = sizes.width, sizes.fused, sizes.channels[level]
        self.readout = nn.Linear(2 * width, width)
        self.project = nn.Conv2d(width, channels, 1)
        self.resize = _resizing(level, channels)
        self.narrow = nn.Conv2d(channels, fused, 3, padding=1, bias=False)
        self.own = Residual(fused)  # of the deepest level no output depends on it
        self.joined = Residual(fused)
        self.out = nn.Conv2d(fused, fused, 1)

    def read(self, tokens: PatchFeatures) -> Tensor:
        """Four, two, one or half a place per patch, by the level; ``(B, fused, h', w')``."""
        patches = tokens.patches.permute(0, 2, 3, 1)
        whole = tokens.class_token[:, None, None].expand_as(patches)
        places = functional.gelu(self.readout(torch.cat([patches, whole], dim=-1)))
        read: Tensor = self.narrow(self.resize(self.project(places.permute(0, 3, 1, 2))))
        return read

    def fuse(self, places: Tensor, deeper: Tensor | None) -> Tensor:
        """With what comes from deeper levels, at twice the resolution."""
        if deeper is not None:
            places = deeper + self.own(places)
        places = functional.interpolate(
            self.joined(places), scale_factor=2, mode="bilinear", align_corners=True
        )
        fused: Tensor = self.out(places)
        return fused


def _resizing(level: int, channels: int) -> nn.Module:
    if level < 2:
        factor = 4 >> level
        return nn.ConvTranspose2d(channels, channels, factor, stride=factor)
    if level == 2:
        return nn.Identity()
    return nn.Conv2d(channels, channels, 3, stride=2, padding=1)


class Neck(nn.Module):
    """All levels, from the deepest to the finest, and the way into the space of texts."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.levels = nn.ModuleList(Level(level, sizes) for level in range(LEVELS))
        self.to_text = nn.Conv2d(sizes.fused, sizes.joint, 1)

    def fused(self, readings: Sequence[PatchFeatures]) -> Tensor:
        """All levels in one.

        Args:
            readings: of four blocks, the first one first, on an even grid.

        Returns:
            ``(B, fused, 8 * h, 8 * w)``.
        """
        path: Tensor | None = None
        for level, tokens in reversed(list(zip(self.levels, readings, strict=True))):
            assert isinstance(level, Level)
            path = level.fuse(level.read(tokens), path)
        assert path is not None  # there are four
        return path

    def forward(self, readings: Sequence[PatchFeatures]) -> Tensor:
        """As :meth:`fused`, in the space of texts; ``(B, joint, 8 * h, 8 * w)``."""
        vectors: Tensor = self.to_text(self.fused(readings))
        return vectors
