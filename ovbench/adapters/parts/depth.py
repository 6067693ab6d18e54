"""Which blocks of another image transformer are meant by those of a ViT-B."""

from __future__ import annotations

from collections.abc import Iterable

from ovbench.errors import UsageError
from ovbench.models.clip.model import CLIP

PUBLISHED_DEPTH = 12
"""Blocks of a ViT-B, by which papers number them."""


def early_blocks(clip: CLIP, published: Iterable[int]) -> list[int]:
    """The blocks at the same share of the depth as these of a ViT-B, in their order.

    Block 8 of twelve, from 0, ends three quarters of the depth: of 24 it is 17 and of four 2. The
    last block is never one of them. What papers do to deeper transformers is not written down;
    this rule is our choice. Shallow ones answer with the same block for several, so that a sum
    over blocks has as many terms as the published one.

    Args:
        published: blocks before the last of a ViT-B's twelve, from 0.

    Raises:
        UsageError: there is no block before the last.
    """
    depth = clip.layers
    if depth < 2:
        raise UsageError(f"{clip.checkpoint.name} has one block, and earlier ones are looked at")
    same_share = (round((block + 1) * depth / PUBLISHED_DEPTH) - 1 for block in published)
    return [min(max(block, 0), depth - 2) for block in same_share]


def check_blocks(name: str, blocks: Iterable[int]) -> None:
    """Raise a ValueError that names a setting, unless its blocks come before the last of twelve."""
    if any(not 0 <= block < PUBLISHED_DEPTH - 1 for block in blocks):
        raise ValueError(f"{name} must lie between 0 and {PUBLISHED_DEPTH - 2}: a ViT-B's blocks")
