"""The last block of CLIP's image transformer with another attention, and what it passes on.

The dense-CLIP family decides there which patches look at which, and whether the residual and
the MLP stay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor
from torch.nn import functional

from ovbench.models.clip.trunk import Heads, Trunk, on_grid, with_mlp

Attention: TypeAlias = Callable[[Heads], Tensor]
"""From the heads to what every token takes from the others, ``(B, heads, 1 + h * w, d)``."""


def own_attention(heads: Heads) -> Tensor:
    """The attention that CLIP was trained with: a softmax over scaled products."""
    return functional.scaled_dot_product_attention(heads.query, heads.key, heads.value)


def values_alone(heads: Heads) -> Tensor:
    """No attention: every token keeps its own value, as MaskCLIP has it."""
    return heads.value


def attend(
    trunk: Trunk, attention: Attention, *, residual: bool, mlp: bool
) -> tuple[Tensor, Tensor]:
    """The last block with this attention, and out of it; see :func:`leave`."""
    found = trunk.mixed(attention(trunk.heads()))
    return leave(trunk, found, residual=residual, mlp=mlp)


def leave(trunk: Trunk, found: Tensor, *, residual: bool, mlp: bool) -> tuple[Tensor, Tensor]:
    """What follows an attention: the rest of its block, the final norm and the projection.

    Args:
        found: ``(B, 1 + h * w, width)``, out of the attention's output layer.
        residual: add the attention to what entered the block, as the block itself does.
        mlp: let the block's MLP follow, with its own residual.

    Returns:
        ``(B, d, h, w)`` and, of the class token, ``(B, d)``: float32 in CLIP's joint space, not
        normalised.
    """
    tokens = trunk.tokens + found if residual else found
    if mlp:
        tokens = with_mlp(trunk.block, tokens)
    joint = trunk.joint(tokens)
    return on_grid(joint[:, 1:], trunk.grid), joint[:, 0]
