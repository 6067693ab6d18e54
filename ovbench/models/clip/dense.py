"""CLIP's image tower read at every location instead of pooled: MaskCLIP's value path.

Zhou, Loy and Dai, "Extract Free Dense Labels from CLIP" (ECCV 2022): the last
attention is left out; its value embedding and its output layer act on every location alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ovbench.errors import UsageError
from ovbench.models.patches.positions import resize_positions


class DenseFeatures(NamedTuple):
    """Features on the grid of locations.

    Attributes:
        values: ``(B, d, h, w)`` float32 in CLIP's joint space, not normalised.
        keys: ``(B, k, h, w)`` float32, the last attention's keys; None in a tower without.
    """

    values: Tensor
    keys: Tensor | None


@dataclass(frozen=True, slots=True)
class DenseTower:
    """An image tower as a map from pixels to locations.

    Attributes:
        stride: pixels per location, along both axes.
        encode: from ``(B, 3, H, W)`` in the tower's dtype, H and W multiples of the stride,
            and whether to keep the last block's residuals.
    """

    stride: int
    encode: Callable[[Tensor, bool], DenseFeatures]


def dense_tower(visual: nn.Module, architecture: str) -> DenseTower:
    """The dense reading of an open_clip image tower.

    Raises:
        UsageError: a tower whose locations cannot be read apart without its attention.
    """
    from open_clip.modified_resnet import ModifiedResNet
    from open_clip.timm_model import TimmModel
    from timm.models.convnext import ConvNeXt

    if is_plain_transformer(visual):
        stride = int(visual.patch_size[0])  # type: ignore[index]
        return DenseTower(stride, lambda x, residual: _transformer(visual, x, residual))
    if isinstance(visual, ModifiedResNet):
        return DenseTower(32, lambda x, _: _resnet(visual, x))
    if isinstance(visual, TimmModel) and isinstance(visual.trunk, ConvNeXt):
        stride = int(visual.trunk.feature_info[-1]["reduction"])
        return DenseTower(stride, lambda x, _: _convnext(visual, x))
    raise UsageError(
        f"{architecture}: this image tower has no per-location path; choose one of open_clip's "
        "plain vision transformers (ViT-B-16), ResNets (RN50) or ConvNeXts (convnext_base_w)"
    )


def is_plain_transformer(visual: nn.Module) -> bool:
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


def _transformer(visual: Any, images: Tensor, residual: bool) -> DenseFeatures:
    last, tokens, grid = entering(visual, images, -1)
    values, keys = _value_path(last, tokens[:, 1:], residual)
    values = visual.ln_post(values) @ visual.proj
    return DenseFeatures(*(x.float().mT.unflatten(2, grid) for x in (values, keys)))


def embed(visual: Any, images: Tensor, offset: float = 0.0) -> tuple[Tensor, tuple[int, int]]:
    """Tokens ``(B, 1 + h * w, width)`` as they enter the first block, and the grid.

    Args:
        offset: of the positions, see :func:`~ovbench.models.patches.positions.resize_positions`.
    """
    patches = visual.conv1(images)
    height, width = patches.shape[-2:]
    tokens = patches.flatten(2).mT
    class_token = visual.class_embedding.to(tokens.dtype).expand(len(tokens), 1, -1)
    grid = height, width
    positions = resize_positions(visual.positional_embedding, visual.grid_size, grid, offset)
    tokens = visual.ln_pre(torch.cat([class_token, tokens], dim=1) + positions.to(tokens.dtype))
    return tokens, grid


def entering(
    visual: Any, images: Tensor, layer: int, offset: float = 0.0
) -> tuple[Any, Tensor, tuple[int, int]]:
    """A block, the tokens ``(B, 1 + h * w, width)`` as they enter it, and the grid.

    Args:
        layer: of the blocks, from 0; negative ones count from the last.
        offset: see :func:`embed`.
    """
    blocks = visual.transformer.resblocks
    index = range(len(blocks))[layer]
    tokens, grid = embed(visual, images, offset)
    for block in blocks[:index]:
        tokens = run_block(block, tokens)
    return blocks[index], tokens, grid


def run_block(block: Any, tokens: Tensor) -> Tensor:
    """The block's own forward pass, on PyTorch's fused attention.

    In inference mode ``nn.MultiheadAttention`` takes another path, which was measured to make
    the whole tower 30 to 90 % slower on a CPU.
    """
    query, key, value = heads_of(block, tokens)
    mixed = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    tokens = tokens + block.ls_1(block.attn.out_proj(mixed))
    return tokens + block.ls_2(block.mlp(block.ln_2(tokens)))  # type: ignore[no-any-return]


def heads_of(block: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of a block's attention, ``(B, heads, n, d)`` each, not scaled."""
    attention = block.attn
    joint = functional.linear(block.ln_1(tokens), attention.in_proj_weight, attention.in_proj_bias)
    heads = joint.reshape(*tokens.shape[:2], 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    query, key, value = heads.unbind()
    return query, key, value


def _value_path(block: Any, tokens: Tensor, residual: bool) -> tuple[Tensor, Tensor]:
    """The block's values and keys, each through its output layer; ``(B, n, width)``."""
    attention, width = block.attn, tokens.shape[-1]
    weight, bias = attention.in_proj_weight[width:], attention.in_proj_bias[width:]
    keys, values = map(
        attention.out_proj, functional.linear(block.ln_1(tokens), weight, bias).chunk(2, dim=-1)
    )
    values = block.ls_1(values)
    if residual:
        values = tokens + values
        values = values + block.ls_2(block.mlp(block.ln_2(values)))
    return values, keys


def _resnet(visual: Any, images: Tensor) -> DenseFeatures:
    features = visual.stem(images)
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        features = layer(features)
    # The pool's position embeddings are left out, as in the released mask_clip_head.py.
    places, pool = features.permute(0, 2, 3, 1), visual.attnpool
    values, keys = pool.c_proj(pool.v_proj(places)), pool.k_proj(places)
    return DenseFeatures(*(x.permute(0, 3, 1, 2).float() for x in (values, keys)))


def _convnext(visual: Any, images: Tensor) -> DenseFeatures:
    features = visual.trunk.forward_features(images)
    batch, _, height, width = features.shape
    # Average pooling over a single location leaves it as it is, so the model's own head,
    # given one location at a time, is the per-location projection.
    places = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1], 1, 1)
    values = visual.head(visual.trunk.forward_head(places))
    values = values.reshape(batch, height, width, -1).permute(0, 3, 1, 2)
    return DenseFeatures(values.float(), None)
