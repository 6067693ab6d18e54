"""Image towers of timm whose last attention is the pool: SigLIP's and the Perception Encoder's.

Zhai et al., "Sigmoid Loss for Language Image Pre-Training" (ICCV 2023); Tschannen et al., "SigLIP
2" (2025); Bolya et al., "Perception Encoder" (2025). One learned query looks at all locations
there, as the class token does in the last block of CLIP's, and leads into the joint space.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def has_pool(visual: nn.Module) -> bool:
    """Whether it is such a tower, as open_clip builds it."""
    from open_clip.timm_model import TimmModel
    from timm.layers import AttentionPoolLatent
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    return (
        isinstance(visual, TimmModel)
        and isinstance(visual.trunk, (VisionTransformer, Eva))
        and isinstance(visual.trunk.attn_pool, AttentionPoolLatent)
    )


class AttentionPool:
    """The pool of such a tower, taken apart as TextRegion does.

    Xiao et al., "TextRegion: Text-Aligned Region Tokens from Frozen Image-Text Models" (TMLR 2025):
    its attention is made uniform within a region, where it is a mean, and its MLP is left out.
    """

    def __init__(self, visual: Any) -> None:
        """Take a tower that :func:`has_pool`."""
        self._visual = visual

    @torch.inference_mode()
    def tokens(self, images: Tensor) -> Tensor:
        """What enters the pool.

        Args:
            images: ``(B, 3, H, W)``, normalised; H and W multiples of the patch.

        Returns:
            ``(B, width, h, w)`` float32.
        """
        dtype = self._visual.trunk.attn_pool.proj.weight.dtype
        tokens, grid = _tokens(self._visual.trunk, images.to(dtype))
        return tokens.float().mT.reshape(len(tokens), -1, *grid)

    @torch.inference_mode()
    def through(self, means: Tensor) -> Tensor:
        """Means of tokens ``(n, width)``, as if attention had found them; ``(n, d)`` float32."""
        trunk = self._visual.trunk
        pool = trunk.attn_pool
        _, value = pool.kv(means.to(pool.proj.weight.dtype)).chunk(2, dim=-1)
        found: Tensor = self._visual.head(trunk.head(trunk.fc_norm(pool.proj(value))))
        return found.float()


def pool_alone(visual: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """Every location through the pool as if there were no other.

    MaskCLIP's step, taken where these towers mix locations last: an attention that has one location
    to look at gives back its value. What follows the attention in the pool, its output layer and
    its MLP, is what leads into the joint space and stays.

    Args:
        images: ``(B, 3, H, W)`` in the tower's dtype, H and W multiples of the patch.

    Returns:
        ``(B, d, h, w)`` in the joint space, and the pool's keys ``(B, width, h, w)``.
    """
    trunk = visual.trunk
    tokens, grid = _tokens(trunk, images)
    batch, count, width = tokens.shape
    pooled = trunk.attn_pool(tokens.reshape(batch * count, 1, width))
    values = visual.head(trunk.head(trunk.fc_norm(pooled))).reshape(batch, count, -1)
    keys = trunk.attn_pool.kv(tokens).chunk(2, dim=-1)[0]
    return values.mT.reshape(batch, -1, *grid), keys.mT.reshape(batch, -1, *grid)


def _tokens(trunk: Any, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """What enters the pool, ``(B, h * w, width)``, and the grid; positions as timm brings them."""
    from timm.layers import resample_abs_pos_embed

    patches = trunk.patch_embed.proj(images)
    height, width = patches.shape[-2:]
    native, prefix = trunk.patch_embed.grid_size, trunk.num_prefix_tokens
    tokens = patches.flatten(2).mT
    if prefix:
        tokens = torch.cat([trunk.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
    places = resample_abs_pos_embed(trunk.pos_embed, [height, width], list(native), prefix)
    tokens = trunk.norm_pre(tokens + places)
    rotary = {}
    rope = getattr(trunk, "rope", None)
    if rope is not None:
        rope.update_feat_shape([height, width])
        rotary = {"rope": rope.get_embed()}
        rope.update_feat_shape(list(native))  # whole images are of that size
    for block in trunk.blocks:
        tokens = block(tokens, **rotary)
    return trunk.norm(tokens)[:, prefix:], (height, width)
