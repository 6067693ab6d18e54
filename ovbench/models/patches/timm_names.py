"""Plain vision transformers by the names that timm gives their weights, and so do authors' files.

timm (github.com/huggingface/pytorch-image-models, timm/models/vision_transformer.py) took the names
of Google's first code for them, and DINO, MAE and those who build on these kept them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ovbench.models.weights.authors import Renaming, renamed

# In turn, of a tensor's whole name.
_RENAMED: Renaming = (
    (r"^cls_token$", "embeddings.cls_token"),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^norm\.", "layernorm."),
    (r"^blocks\.(\d+)\.norm1\.", r"layers.\1.layernorm_before."),
    (r"^blocks\.(\d+)\.norm2\.", r"layers.\1.layernorm_after."),
    (r"^blocks\.(\d+)\.attn\.proj\.", r"layers.\1.attention.o_proj."),
    (r"^blocks\.(\d+)\.mlp\.", r"layers.\1.mlp."),
)
_JOINT = re.compile(r"blocks\.(\d+)\.attn\.qkv\.(weight|bias)")
_HEAD_WIDTH = 64  # of all that are read here
_EPS = 1e-6  # of timm's normalisations; transformers has 1e-12


def stock_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by the names of transformers' ``ViTModel``.

    Queries, keys and values, one matrix with timm, are three. What has no place keeps its name.
    """
    found: dict[str, Tensor] = {}
    for theirs, weight in weights.items():
        if joint := _JOINT.fullmatch(theirs):
            layer, kind = joint.groups()
            for facet, part in zip("qkv", weight.chunk(3), strict=True):
                found[f"layers.{layer}.attention.{facet}_proj.{kind}"] = part
            continue
        found[renamed(theirs, _RENAMED)] = weight
    return found


def empty_vit(weights: Mapping[str, Tensor] | None = None) -> Any:
    """A new ``ViTModel`` without its pooler: ViT-B/16 for 224 pixels, or of the size of weights.

    Args:
        weights: by timm's names; where one that tells a size is missing, ViT-B/16 is made, which
            they then do not fit.
    """
    from transformers import ViTConfig, ViTModel

    sizes: dict[str, Any] = {}
    if weights and {"pos_embed", "patch_embed.proj.weight", "blocks.0.mlp.fc1.weight"} <= {
        *weights
    }:
        places, width = weights["pos_embed"].shape[1:]
        patch = weights["patch_embed.proj.weight"].shape[-1]
        blocks = {name.split(".")[1] for name in weights if name.startswith("blocks.")}
        sizes = {
            "hidden_size": width,
            "num_hidden_layers": len(blocks),
            "num_attention_heads": max(1, width // _HEAD_WIDTH),
            "intermediate_size": weights["blocks.0.mlp.fc1.weight"].shape[0],
            "image_size": math.isqrt(places - 1) * patch,
            "patch_size": patch,
        }
    return ViTModel(ViTConfig(**sizes, layer_norm_eps=_EPS), add_pooling_layer=False)
