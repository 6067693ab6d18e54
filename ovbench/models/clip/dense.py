"""CLIP's image tower read at every location instead of pooled: MaskCLIP's value path.

Zhou, Loy and Dai, "Extract Free Dense Labels from CLIP" (ECCV 2022): the last
attention is left out; its value embedding and its output layer act on every location alone. In
ResNets, SigLIPs and Perception Encoders the last attention is the one that pools; for the last two
kinds, which the paper does not have, this is our choice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from ovbench.errors import UsageError
from ovbench.models.clip.last_block import attend, values_alone
from ovbench.models.clip.pooled import has_pool, pool_alone
from ovbench.models.clip.trunk import is_plain_transformer, on_grid, run_trunk


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
    if has_pool(visual):
        stride = int(visual.trunk.patch_embed.patch_size[0])  # type: ignore[union-attr,index]
        return DenseTower(stride, lambda x, _: _pooled(visual, x))
    raise UsageError(
        f"{architecture}: this image tower has no per-location path; choose one of open_clip's "
        "plain vision transformers (ViT-B-16), ResNets (RN50), ConvNeXts (convnext_base_w), "
        "SigLIPs (ViT-L-16-SigLIP2-256) or Perception Encoders (PE-Core-L-14-336)"
    )


def _transformer(visual: Any, images: Tensor, residual: bool) -> DenseFeatures:
    trunk = run_trunk(visual, images)
    values, _ = attend(trunk, values_alone, residual=residual, mlp=residual)
    keys = trunk.mixed(trunk.heads().key)[:, 1:].float()
    return DenseFeatures(values, on_grid(keys, trunk.grid))


def _resnet(visual: Any, images: Tensor) -> DenseFeatures:
    features = visual.stem(images)
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        features = layer(features)
    # The pool's position embeddings are left out, as in the released mask_clip_head.py.
    places, pool = features.permute(0, 2, 3, 1), visual.attnpool
    values, keys = pool.c_proj(pool.v_proj(places)), pool.k_proj(places)
    return DenseFeatures(*(x.permute(0, 3, 1, 2).float() for x in (values, keys)))


def _pooled(visual: Any, images: Tensor) -> DenseFeatures:
    values, keys = pool_alone(visual, images)
    return DenseFeatures(values.float(), keys.float())


def _convnext(visual: Any, images: Tensor) -> DenseFeatures:
    features = visual.trunk.forward_features(images)
    batch, _, height, width = features.shape
    # Average pooling over a single location leaves it as it is, so the model's own head,
    # given one location at a time, is the per-location projection.
    places = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1], 1, 1)
    values = visual.head(visual.trunk.forward_head(places))
    values = values.reshape(batch, height, width, -1).permute(0, 3, 1, 2)
    return DenseFeatures(values.float(), None)
