"""Any layer of CLIP's image transformer, patch by patch, as OVDiff reads it."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from ovbench.models.clip.dense import entering, run_block
from ovbench.models.patches.encoder import Facet

_PROJECTIONS = ("query", "key", "value")


def read_layer(
    visual: Any, images: Tensor, layer: int, facet: Facet, offset: float = 0.0
) -> Tensor:
    """One block's output or one projection in its attention, before any final normalisation.

    Args:
        visual: a plain vision transformer of open_clip.
        images: ``(B, 3, H, W)`` in the tower's dtype, H and W multiples of the patch.
        layer: of the blocks, from 0; negative ones count from the last.
        facet: heads are concatenated, as the block's own layer gives them.
        offset: of the positions, see :func:`~ovbench.models.patches.positions.resize_positions`.

    Returns:
        ``(B, width, h, w)`` float32.
    """
    block, tokens, grid = entering(visual, images, layer, offset)
    patches = _facet(block, tokens, facet)[:, 1:].float().mT
    return patches.reshape(*patches.shape[:2], *grid)


def _facet(block: Any, tokens: Tensor, facet: Facet) -> Tensor:
    if facet == "token":
        return run_block(block, tokens)
    place, attention = _PROJECTIONS.index(facet), block.attn
    weight = attention.in_proj_weight.chunk(3)[place]
    return functional.linear(block.ln_1(tokens), weight, attention.in_proj_bias.chunk(3)[place])
