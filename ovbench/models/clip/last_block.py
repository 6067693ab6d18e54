"""The last block of CLIP's image transformer with another attention, and what it passes on.

Methods of the dense-CLIP family leave all blocks but the last as they are. There they decide
which patches look at which, and whether the residual and the MLP stay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from torch import Tensor
from torch.nn import functional

from ovbench.models.clip.dense import entering, heads_of


class Heads(NamedTuple):
    """What an attention is made of.

    Attributes:
        query, key, value: ``(B, heads, 1 + h * w, d)``, the class token's first; the query is
            not scaled by ``d ** -0.5``.
        grid: rows and columns of patches, ``(h, w)``.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    grid: tuple[int, int]


Attention: TypeAlias = Callable[[Heads], Tensor]
"""From the heads to what every token takes from the others, ``(B, heads, 1 + h * w, d)``."""


def own_attention(heads: Heads) -> Tensor:
    """The attention that CLIP was trained with: a softmax over scaled products."""
    return functional.scaled_dot_product_attention(heads.query, heads.key, heads.value)


def attend(
    visual: Any, images: Tensor, attention: Attention, *, residual: bool, mlp: bool
) -> tuple[Tensor, Tensor]:
    """All blocks, the last with this attention, then the final norm and the projection.

    Args:
        visual: a plain vision transformer of open_clip.
        images: ``(B, 3, H, W)`` in the tower's dtype, H and W multiples of the patch.
        residual: add the attention to what entered the block, as the block itself does.
        mlp: let the block's MLP follow, with its own residual.

    Returns:
        ``(B, d, h, w)`` and, of the class token, ``(B, d)``: float32 in CLIP's joint space, not
        normalised.
    """
    last, tokens, grid = entering(visual, images, -1)
    found = attention(Heads(*heads_of(last, tokens), grid))
    mixed = last.ls_1(last.attn.out_proj(found.transpose(1, 2).flatten(2)))
    tokens = tokens + mixed if residual else mixed
    if mlp:
        tokens = tokens + last.ls_2(last.mlp(last.ln_2(tokens)))
    joint = (visual.ln_post(tokens) @ visual.proj).float()
    return joint[:, 1:].mT.unflatten(2, grid), joint[:, 0]
