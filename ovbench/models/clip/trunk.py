"""CLIP's image transformer up to one of its blocks, and the parts of that block.

Methods of the dense-CLIP family leave all blocks but the last as they are; what they need of
those is handed out with the tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from ovbench.errors import UsageError
from ovbench.models.patches.positions import Positions, resize_positions
from ovbench.models.precision import linear

Mending: TypeAlias = Callable[[Tensor, Tensor, tuple[int, int]], Tensor]
"""From what left a block, ``(B, 1 + h * w, width)``, its weights after the softmax, ``(B, heads,
1 + h * w, 1 + h * w)``, and the grid ``(h, w)`` to what enters the next block."""


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


@dataclass(frozen=True, slots=True)
class Trunk:
    """A block with what enters it.

    Attributes:
        visual: the image tower.
        block: the block that was not run, usually the last.
        tokens: ``(B, 1 + h * w, width)`` as they enter it, the class token first.
        grid: rows and columns of patches, ``(h, w)``.
        states: per earlier block (from 0) that was asked for, what left it; as ``tokens``.
        attentions: per earlier block that was asked for, its weights after the softmax,
            ``(B, heads, 1 + h * w, 1 + h * w)``.
    """

    visual: Any
    block: Any
    tokens: Tensor
    grid: tuple[int, int]
    states: Mapping[int, Tensor]
    attentions: Mapping[int, Tensor]

    def at(self, layer: int) -> Trunk:
        """The same for an earlier block, if the state before it was kept, or for this one."""
        blocks = self.visual.transformer.resblocks
        block = blocks[layer]
        if block is self.block:
            return self
        return replace(self, block=block, tokens=self.states[range(len(blocks))[layer] - 1])

    def heads(self, tokens: Tensor | None = None) -> Heads:
        """The block's queries, keys and values of its own tokens, or of others ``(B, n, width)``.

        The block's first normalisation is applied.
        """
        tokens = self.tokens if tokens is None else tokens
        return Heads(*heads_of(self.block, tokens), self.grid)

    def mixed(self, found: Tensor) -> Tensor:
        """What an attention found, ``(B, heads, n, d)``, through its output layer."""
        joint = found.transpose(1, 2).flatten(2)
        return self.block.ls_1(self.block.attn.out_proj(joint))  # type: ignore[no-any-return]

    def joint(self, tokens: Tensor) -> Tensor:
        """Tokens ``(B, n, width)`` in CLIP's joint space, ``(B, n, d)`` float32, not normalised."""
        joint: Tensor = self.visual.ln_post(tokens) @ self.visual.proj
        return joint.float()


def run_trunk(
    visual: Any,
    images: Tensor,
    layer: int = -1,
    *,
    positions: Positions = "exact",
    states: Collection[int] = (),
    attentions: Collection[int] = (),
    mending: Mending | None = None,
) -> Trunk:
    """Run the blocks before one of them.

    Args:
        visual: a plain vision transformer of open_clip.
        images: ``(B, 3, H, W)`` in the tower's dtype; the patch convolution drops what a side
            has over a multiple of the patch.
        layer: of the blocks, from 0; negative ones count from the last.
        positions: see :func:`~ovbench.models.patches.positions.resize_positions`.
        states, attentions: of which earlier blocks to keep what left them and their weights;
            negative ones count from the last.
        mending: changes what leaves each of them.
    """
    blocks = visual.transformer.resblocks
    numbers = range(len(blocks))
    index = numbers[layer]
    keep, weigh = ({numbers[i] for i in asked} for asked in (states, attentions))
    tokens, grid = embed(visual, images, positions)
    kept: dict[int, Tensor] = {}
    weights: dict[int, Tensor] = {}
    for i, block in enumerate(blocks[:index]):
        looked = attention_weights(block, tokens) if i in weigh or mending else None
        tokens = run_block(block, tokens)
        if looked is not None:
            if mending:
                tokens = mending(tokens, looked, grid)
            if i in weigh:
                weights[i] = looked
        if i in keep:
            kept[i] = tokens
    return Trunk(visual, blocks[index], tokens, grid, kept, weights)


def embed(
    visual: Any, images: Tensor, positions: Positions = "exact"
) -> tuple[Tensor, tuple[int, int]]:
    """Tokens ``(B, 1 + h * w, width)`` as they enter the first block, and the grid."""
    patches = visual.conv1(images)
    height, width = patches.shape[-2:]
    tokens = patches.flatten(2).mT
    class_token = visual.class_embedding.to(tokens.dtype).expand(len(tokens), 1, -1)
    grid = height, width
    places = resize_positions(visual.positional_embedding, visual.grid_size, grid, positions)
    tokens = visual.ln_pre(torch.cat([class_token, tokens], dim=1) + places.to(tokens.dtype))
    return tokens, grid


def run_block(block: Any, tokens: Tensor) -> Tensor:
    """The block's own forward pass, on PyTorch's fused attention.

    In inference mode ``nn.MultiheadAttention`` takes another path, which was measured to make
    the whole tower 30 to 90 % slower on a CPU.
    """
    return with_mlp(block, attended(block, tokens))


def attended(
    block: Any, tokens: Tensor, heads: tuple[Tensor, Tensor, Tensor] | None = None
) -> Tensor:
    """The first half of a block: its attention, with its own residual.

    Args:
        heads: of these tokens, where they are there already.
    """
    query, key, value = heads_of(block, tokens) if heads is None else heads
    mixed = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    return tokens + block.ls_1(block.attn.out_proj(mixed))  # type: ignore[no-any-return]


def with_mlp(block: Any, tokens: Tensor) -> Tensor:
    """The second half of a block: its MLP, with its own residual."""
    return tokens + block.ls_2(block.mlp(block.ln_2(tokens)))  # type: ignore[no-any-return]


def heads_of(block: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of a block's attention, ``(B, heads, n, d)`` each, not scaled."""
    attention = block.attn
    joint = linear(block.ln_1(tokens), attention.in_proj_weight, attention.in_proj_bias)
    heads = joint.reshape(*tokens.shape[:2], 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    query, key, value = heads.unbind()
    return query, key, value


def attention_weights(block: Any, tokens: Tensor) -> Tensor:
    """The weights of a block's own attention, which the fused one keeps to itself."""
    query, key, _ = heads_of(block, tokens)
    scores: Tensor = query * query.shape[-1] ** -0.5 @ key.mT
    return scores.softmax(dim=-1)


def on_grid(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """Tokens of patches ``(B, h * w, d)``, the class token left out, as ``(B, d, h, w)``."""
    return patches.mT.reshape(len(patches), -1, *grid)


def is_plain_transformer(visual: nn.Module) -> bool:
    """Whether it is one of open_clip's vision transformers, made of its usual blocks."""
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

    return (
        isinstance(visual, VisionTransformer)
        and visual.attn_pool is None
        and isinstance(visual.transformer.resblocks[-1], ResidualAttentionBlock)
    )


def plain_transformer(visual: nn.Module, name: str) -> Any:
    """The tower itself, if it is one.

    Raises:
        UsageError: it is no plain vision transformer; ``name`` is the checkpoint's.
    """
    if not is_plain_transformer(visual):
        raise UsageError(f"{name}: only plain vision transformers (ViT-B-16) have such layers")
    return visual
