"""Position embeddings for another grid than the one that a vision transformer was trained on."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

DINO_OFFSET = 0.1
"""What the code of DINO and DINOv2, and released code that builds on it, adds to a grid's sides
before it divides them by the native ones: its positions lie up to a tenth of a patch away."""


def resize_positions(
    embedding: Tensor, native: tuple[int, int], grid: tuple[int, int], offset: float = 0.0
) -> Tensor:
    """Position embeddings for another grid, bicubic; the class token's stays as it is.

    Args:
        embedding: ``(1 + native_h * native_w, width)``, the class token's first.
        native, grid: rows and columns of patches, before and after.
        offset: added to both sides of the grid where the scale is computed, not where the
            result's size is; see :data:`DINO_OFFSET`.

    Returns:
        ``(1 + h * w, width)``, the embedding itself where the grid is the native one.
    """
    if grid == native:
        return embedding
    patches = embedding[1:].float().mT.reshape(1, -1, *native)
    patches = (
        functional.interpolate(
            patches,
            scale_factor=[(side + offset) / own for side, own in zip(grid, native, strict=True)],
            mode="bicubic",
            align_corners=False,
        )
        if offset
        else functional.interpolate(patches, grid, mode="bicubic", align_corners=False)
    )
    return torch.cat([embedding[:1], patches[0].flatten(1).mT.to(embedding.dtype)])
