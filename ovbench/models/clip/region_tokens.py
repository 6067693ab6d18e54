"""A class token of each region's own, which CorrCLIP lets run beside CLIP's image transformer.

Zhang, Liu and Tang, "CorrCLIP: Reconstructing Patch Correlations in CLIP for Open-Vocabulary
Semantic Segmentation" (ICCV 2025); released code: github.com/zdk258/CorrCLIP, CorrCLIPv1,
open_clip/transformer.py.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from ovbench.models.clip.trunk import Trunk, attended, embed, heads_of, with_mlp
from ovbench.models.patches.positions import Positions


class RegionTrunk(NamedTuple):
    """All blocks but the last, and what ran beside them.

    Attributes:
        trunk: as :func:`~ovbench.models.clip.trunk.run_trunk` gives it.
        averaged: the mean of what left the blocks that were asked for, ``(B, 1 + h * w, width)``;
            None where none was.
        regions: the regions' tokens behind the *last* block, ``(B, n, width)``.
    """

    trunk: Trunk
    averaged: Tensor | None
    regions: Tensor


def run_with_regions(
    visual: Any,
    images: Tensor,
    members: Tensor,
    *,
    average: Collection[int] = (),
    positions: Positions = "exact",
) -> RegionTrunk:
    """Run the blocks, with a copy of the class token for every region.

    From the first block on a copy looks at the class token and at its region's patches, and not at
    itself; nothing looks at copies, so that the other tokens are what they are without any.

    Args:
        visual: a plain vision transformer of open_clip.
        images: ``(B, 3, H, W)`` in the tower's dtype.
        members: ``(B, n, h * w)`` bool, the patches of each region; a region may have none.
        average: the earlier blocks (from 0) whose outputs are averaged.
        positions: see :func:`~ovbench.models.patches.positions.resize_positions`.
    """
    *blocks, last = visual.transformer.resblocks
    tokens, grid = embed(visual, images, positions)
    seen = pad(members, (1, 0), value=True)[:, None]  # the class token
    copies = tokens[:, :1].expand(-1, members.shape[1], -1)
    total: Tensor | None = None
    for i, block in enumerate(blocks):
        copies, tokens = _both(block, copies, tokens, seen)
        if i in average:
            total = tokens if total is None else total + tokens
    regions = _looking(last, copies, heads_of(last, tokens), seen)
    averaged = None if total is None else total / len(average)
    return RegionTrunk(Trunk(visual, last, tokens, grid, {}, {}), averaged, regions)


def _both(block: Any, copies: Tensor, tokens: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """One block, whose keys and values both kinds of tokens need."""
    heads = heads_of(block, tokens)
    return _looking(block, copies, heads, seen), with_mlp(block, attended(block, tokens, heads))


def _looking(
    block: Any, copies: Tensor, heads: tuple[Tensor, Tensor, Tensor], seen: Tensor
) -> Tensor:
    """Copies behind a block in which they look at what they may see of the other tokens."""
    if not copies.shape[1]:
        return copies
    _, key, value = heads
    query, _, _ = heads_of(block, copies)
    found = scaled_dot_product_attention(query, key, value, attn_mask=seen)
    mixed = block.attn.out_proj(found.transpose(1, 2).flatten(2))
    return with_mlp(block, copies + block.ls_1(mixed))


def paint_tokens(regions: Tensor, numbers: Tensor) -> Tensor:
    """Every place has the token of its region.

    Args:
        regions: ``(B, n, d)``.
        numbers: ``(B, h, w)`` int64, within ``0 .. n - 1``.

    Returns:
        ``(B, h * w, d)``.
    """
    index = numbers.flatten(1)[..., None].expand(-1, -1, regions.shape[-1])
    return torch.gather(regions, 1, index)
