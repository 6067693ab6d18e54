"""What CorrCLIP makes of a window: three branches of CLIP's last block, within regions.

Zhang, Liu and Tang, "CorrCLIP" (ICCV 2025); released code, CorrCLIPv1, open_clip/transformer.py.
CorrCLIPv2's makes the same, without merging.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate, one_hot

from ovbench.adapters.dense_clip.proxyclip import PAIRS
from ovbench.adapters.parts.affinity import cosine_graph
from ovbench.adapters.regional.corrclip.settings import CorrCLIPSettings
from ovbench.adapters.regional.merging import allowed_pairs, merged, on_places, renumbered
from ovbench.errors import UsageError
from ovbench.models.clip.model import CLIP
from ovbench.models.clip.region_tokens import RegionTrunk, paint_tokens
from ovbench.models.clip.trunk import on_grid
from ovbench.models.regions.maps import RegionMap


class Branches:
    """One CLIP's answer for windows, with the settings of the method.

    Attributes:
        averaged: the blocks, from 0, that the spatial branch averages.
    """

    def __init__(self, clip: CLIP, settings: CorrCLIPSettings) -> None:
        """Raise UsageError for a CLIP that has fewer blocks than are averaged."""
        self.clip, self.settings = clip, settings
        self.averaged = spatial_blocks(settings, clip.layers, clip.checkpoint.name)

    def features(self, windows: Tensor, seen: Tensor) -> Tensor:
        """On the other model's grid.

        Args:
            windows: ``(B, 4, H, W)`` float32; the fourth channel is :func:`with_regions`'s.
            seen: the other model's features of them, ``(B, d, h, w)``, of any length.

        Returns:
            ``(B, e, h, w)`` float32 in CLIP's joint space, not normalised.
        """
        pixels, grid = windows[:, :3], (seen.shape[2], seen.shape[3])
        numbers = self.numbers(windows[:, 3], seen)
        read = self._read(pixels, numbers)
        trunk, settings = read.trunk, self.settings
        kinds = [trunk.tokens] if read.averaged is None else [trunk.tokens, read.averaged]
        main, *spatial = (trunk.joint(one) for one in self._mixed(read, kinds, seen, numbers))
        for one in spatial:
            main = main + settings.spatial_weight * one
        if read.regions.shape[1]:
            on_patches = on_places(numbers, trunk.grid)
            painted = paint_tokens(read.regions, on_places(on_patches, grid))
            main = main + settings.semantic_weight * trunk.joint(painted)
        return on_grid(main, grid)

    def numbers(self, shown: Tensor, seen: Tensor) -> Tensor:
        """The regions of every place of the other model's, ``(B, h, w)``, alike ones joined."""
        numbers = on_places(shown, (seen.shape[2], seen.shape[3]))
        padding = numbers.amax() + 1  # a region like others, and none of those without a mask
        numbers = renumbered(torch.where(numbers == 0, padding, numbers))
        if not self.settings.merge:
            return numbers
        distance = self.settings.merge_distance
        each = zip(numbers, seen, strict=True)
        return torch.stack([merged(*one, distance) for one in each])

    def _read(self, pixels: Tensor, numbers: Tensor) -> RegionTrunk:
        """CLIP's blocks, and of the branches what is switched on."""
        settings, patch = self.settings, self.clip.stride
        grid = pixels.shape[2] // patch, pixels.shape[3] // patch
        members = one_hot(on_places(numbers, grid).flatten(1), int(numbers.max()) + 1).mT.bool()
        return self.clip.trunk_with_regions(
            pixels,
            members if settings.semantic_weight else members[:, :0],
            average=self.averaged if settings.spatial_weight else (),
            positions=settings.positions,
        )

    def _mixed(
        self, read: RegionTrunk, kinds: Sequence[Tensor], seen: Tensor, numbers: Tensor
    ) -> Sequence[Tensor]:
        """The values of each kind of tokens, mixed within regions, ``(B, h * w, width)`` each."""
        trunk, grid = read.trunk, (seen.shape[2], seen.shape[3])
        values = [trunk.heads(one).value[:, :, 1:].transpose(1, 2).flatten(2) for one in kinds]
        small = on_grid(torch.cat(values, dim=2), trunk.grid)
        rows = interpolate(small, grid, mode="bilinear").flatten(2).mT
        several = max(1, PAIRS // (grid[0] * grid[1]) ** 2)
        parts = (torch.split(one, several) for one in (seen, rows, numbers.flatten(1)))
        found = []
        for part, value, number in zip(*parts, strict=True):
            graph = cosine_graph(part)
            weights = graph * self.settings.temperature
            if self.settings.scope:
                weights.masked_fill_(~allowed_pairs(graph, number), -torch.inf)
            found.append(weights.softmax(dim=-1).to(value.dtype) @ value)
        mixed = torch.cat(found).chunk(len(kinds), dim=2)
        return [trunk.mixed(one[:, None]) for one in mixed]


def with_regions(pixels: Tensor, regions: RegionMap) -> Tensor:
    """Pixels ``(3, H', W')`` and, as a fourth channel, their regions' numbers and 1.

    The 1 tells what no mask covers from the zeros that windows are given. The map ``(H, W)`` is
    brought to the pixels by the nearest place.
    """
    size = pixels.shape[1], pixels.shape[2]
    numbers = on_places(torch.from_numpy(regions)[None], size).to(pixels.device) + 1
    return torch.cat([pixels, numbers.to(pixels.dtype)])


def spatial_blocks(settings: CorrCLIPSettings, layers: int, name: str) -> range:
    """The blocks, from 0, that the spatial branch averages: so many before the last but one.

    Raises:
        UsageError: a CLIP that has not so many.
    """
    asked = settings.spatial_blocks
    count = {12: 5, 24: 12, 32: 28}.get(layers, max(layers - 4, 1)) if asked is None else asked
    if settings.spatial_weight and count > layers - 2:
        raise UsageError(
            f"spatial_blocks={count}: {name} has {layers} blocks, and those before the last but "
            "one are averaged; spatial_weight=0 leaves that branch out"
        )
    return range(max(layers - 2 - count, 0), max(layers - 2, 0))
