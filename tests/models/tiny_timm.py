"""SigLIP's and the Perception Encoder's image towers, tiny: timm's classes as timm sets them."""

from __future__ import annotations

from functools import partial
from typing import Any

from timm.models import is_model, register_model
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch.nn import LayerNorm

SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}


def tiny_siglip(pretrained: bool = False, **settings: Any) -> VisionTransformer:
    """As ``vit_large_patch16_siglip_256``."""
    own = {**SIZES, "class_token": False, "global_pool": "map"}
    return VisionTransformer(**{**own, **_known(settings)})


def tiny_pe(pretrained: bool = False, **settings: Any) -> Eva:
    """As ``vit_pe_core_large_patch14_336``."""
    own = {
        **SIZES,
        "mlp_ratio": 4.0,
        "global_pool": "map",
        "attn_type": "rope",
        "use_pre_transformer_norm": True,
        "use_rot_pos_emb": True,
        "ref_feat_shape": (4, 4),
        "rope_grid_offset": 1.0,
        "rope_grid_indexing": "xy",
        "attn_pool_num_heads": 2,
        "attn_pool_mlp_ratio": 4.0,
        "norm_layer": partial(LayerNorm, eps=1e-5),
    }
    return Eva(**{**own, **_known(settings)})


def _known(settings: dict[str, Any]) -> dict[str, Any]:
    """Without what timm tells its builders beside a model's own settings."""
    known = ("num_classes", "global_pool", "dynamic_img_size")
    return {name: value for name, value in settings.items() if name in known}


def register() -> None:
    """Let timm know them by name, once."""
    for build in (tiny_siglip, tiny_pe):
        if not is_model(build.__name__):
            register_model(build)
