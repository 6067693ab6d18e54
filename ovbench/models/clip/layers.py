"""Any layer of CLIP's image transformer, patch by patch, as OVDiff reads it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ovbench.models.clip.trunk import Trunk, on_grid, run_block, run_trunk
from ovbench.models.patches.encoder import Facet
from ovbench.models.patches.positions import Positions
from ovbench.models.precision import linear

_PROJECTIONS = ("query", "key", "value")


def read_layer(
    visual: Any, images: Tensor, layer: int, facet: Facet, positions: Positions = "exact"
) -> Tensor:
    """One block's output or one projection in its attention, before any final normalisation.

    Args:
        visual: a plain vision transformer of open_clip.
        images: ``(B, 3, H, W)`` in the tower's dtype, H and W multiples of the patch.
        layer: of the blocks, from 0; negative ones count from the last.
        facet: heads are concatenated, as the block's own layer gives them.
        positions: see :func:`~ovbench.models.patches.positions.resize_positions`.

    Returns:
        ``(B, width, h, w)`` float32.
    """
    trunk = run_trunk(visual, images, layer, positions=positions)
    return on_grid(_facet(trunk, facet)[:, 1:], trunk.grid).float()


def _facet(trunk: Trunk, facet: Facet) -> Tensor:
    block, tokens = trunk.block, trunk.tokens
    if facet == "token":
        return run_block(block, tokens)
    place, attention = _PROJECTIONS.index(facet), block.attn
    weight = attention.in_proj_weight.chunk(3)[place]
    return linear(block.ln_1(tokens), weight, attention.in_proj_bias.chunk(3)[place])
