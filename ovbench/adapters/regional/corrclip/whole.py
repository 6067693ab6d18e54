"""What a vision foundation model says of whole images, where windows and regions ask for it.

As CorrCLIPv2's released code has it: vfms/factory.py, and forward_slide of corrclip_segmentor.py.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize, one_hot

from ovbench.adapters.parts.vfm import VFM
from ovbench.harness.contract.arrays import Image
from ovbench.models.pixels.scores import Scores, resizing
from ovbench.models.pixels.windows import Axis, Windows

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
"""How a model is told that its pixels come in, 0..1."""

BYTES = 64 * 2**20
"""Features at full size that are held at a time, or those of one row."""


def whole_features(vfm: VFM, image: Image, device: torch.device) -> Tensor:
    """Of an image at its own size, to the nearest whole patches; ``(d, h, w)``.

    Args:
        vfm: loaded for pixels that are :data:`PLAIN`.
        image: ``(H, W, 3)`` uint8.
    """
    patch = vfm.patch_size
    height, width = (max(1, round(side / patch)) * patch for side in image.shape[:2])
    pixels = torch.tensor(image, device=device).permute(2, 0, 1)[None].float() / 255
    return vfm.features(interpolate(pixels, (height, width), mode="bilinear"))[0]


def in_windows(features: Tensor, windows: Windows, grid: tuple[int, int]) -> Tensor:
    """Features of a whole image as the windows over its input see them, ``(n, d, *grid)``.

    They are enlarged to the input, brought to unit length at every pixel, cut into windows whose
    zeros repeat the outermost pixels, and brought to the grid: of all these pixels those few exist
    that the grid is made of.

    Args:
        features: ``(d, h, w)``.
        windows: in the order of :meth:`~ovbench.models.pixels.windows.Windows.cut`.
    """
    sides = ((windows.rows, grid[0]), (windows.columns, grid[1]))
    ways = [
        [_ways(axis, start, places, wanted, features.device) for start in axis.starts]
        for (axis, wanted), places in zip(sides, features.shape[1:], strict=True)
    ]
    found = []
    for (tall, short), (wide, narrow) in product(*ways):
        pixels = normalize(tall @ features @ wide.mT, dim=0)
        found.append(short @ pixels @ narrow.mT)
    return torch.stack(found)


def _ways(
    axis: Axis, start: int, places: int, wanted: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """From places to the pixels that count, ``(u, places)``, and on to a grid, ``(wanted, u)``."""
    padded = torch.arange(axis.before + axis.length + axis.after)
    pixels = start + (padded - axis.before).clamp(0, axis.length - 1)
    reduce = resizing(len(padded), wanted)
    used = reduce.any(dim=0).nonzero().flatten()
    enlarge = resizing(places, axis.side)[pixels[used]]
    return enlarge.to(device), reduce[:, used].to(device)


def region_means(found: Scores, regions: Tensor, *, unit: bool = False) -> tuple[Tensor, Tensor]:
    """The mean feature of every region, at full size, of which some rows exist at a time.

    Args:
        found: features as they come to full size, ``(H, W)``; nothing is added to them.
        regions: ``(H, W)`` int64, on the features' device.
        unit: every pixel's feature is brought to unit length before.

    Returns:
        The regions' numbers ``(n,)``, rising, and their means ``(n, d)``.
    """
    numbers, index = torch.unique(regions, return_inverse=True)
    maps, (height, width) = found.maps, found.size
    rows = torch.eye(height) if found.rows is None else found.rows
    columns = None if found.columns is None else found.columns.to(maps.device).mT
    total = maps.new_zeros(len(numbers), len(maps))
    step = max(1, BYTES // (4 * len(maps) * width))
    for top in range(0, height, step):
        weights = rows[top : top + step]
        used = weights.any(dim=0).nonzero().flatten()
        part = maps[:, used.to(maps.device)]
        part = part if columns is None else part @ columns
        pixels = weights[:, used].to(maps.device) @ part
        if unit:
            pixels = normalize(pixels, dim=0)
        members = one_hot(index[top : top + step].flatten(), len(numbers))
        total += members.to(pixels.dtype).mT @ pixels.flatten(1).mT
    return numbers, total / torch.bincount(index.flatten())[:, None]
