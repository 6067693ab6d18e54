"""Position embeddings for another grid than the one that a vision transformer was trained on."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

Positions: TypeAlias = Literal["exact", "dino", "antialias", "bilinear"]
"""How position embeddings come to another grid, by bicubic interpolation where it is not said.

- ``exact``: to the grid's size.
- ``dino``: as the code of DINO and DINOv2 does, and released code that builds on it: a tenth of a
  patch is added to the grid's sides before they are divided by the native ones, so that positions
  lie up to a tenth of a patch away.
- ``antialias``: to the grid's size with antialiasing, as GEM's code does. PyTorch's kernel is then
  another cubic one, also where the grid grows.
- ``bilinear``: to the grid's size by bilinear interpolation, as LSeg's code does.
"""

_DINO_OFFSET = 0.1


def resize_positions(
    embedding: Tensor,
    native: tuple[int, int],
    grid: tuple[int, int],
    positions: Positions = "exact",
) -> Tensor:
    """Position embeddings for another grid; the class token's stays as it is.

    Args:
        embedding: ``(1 + native_h * native_w, width)``, the class token's first.
        native, grid: rows and columns of patches, before and after.
        positions: see :data:`Positions`.

    Returns:
        ``(1 + h * w, width)``, the embedding itself where the grid is the native one.
    """
    if grid == native:
        return embedding
    patches = embedding[1:].float().mT.reshape(1, -1, *native)
    if positions == "dino":
        scale = [(side + _DINO_OFFSET) / own for side, own in zip(grid, native, strict=True)]
        patches = functional.interpolate(patches, scale_factor=scale, mode="bicubic")
    else:
        mode = "bilinear" if positions == "bilinear" else "bicubic"
        smooth = positions == "antialias"
        patches = functional.interpolate(patches, grid, mode=mode, antialias=smooth)
    return torch.cat([embedding[:1], patches[0].flatten(1).mT.to(embedding.dtype)])
