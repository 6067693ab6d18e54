"""MAE's encoder from the file that its authors publish, which names its weights as timm does."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ovbench.harness.files.regular import regular
from ovbench.models.weights.pretrained import reading

_NAMES: Mapping[str, str] = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
"""Within a block, what transformers calls a layer; its loader knows these names of old."""

_HEAD_WIDTH = 64  # of all MAEs but the huge one
_EPS = 1e-6  # of their normalisations; the hub's copies say 1e-12


def load_mae(file: Path) -> tuple[Any, Mapping[str, Any]]:
    """The encoder as a ``ViTModel``, with transformers' report of what was loaded.

    Sizes are those of the weights; the decoder is left where it is.

    Raises:
        UsageError: a file that is damaged, or not MAE's.
    """
    from transformers import ViTConfig, ViTModel

    with reading(file), torch.serialization.safe_globals([Namespace]):
        content = torch.load(regular(file), map_location="cpu", weights_only=True)
        if not isinstance(content, dict) or "pos_embed" not in content.get("model", {}):
            raise ValueError("no weights of MAE")
        weights = content["model"]
        places, width = weights["pos_embed"].shape[1:]
        patch = weights["patch_embed.proj.weight"].shape[-1]
        blocks = {name.split(".")[1] for name in weights if name.startswith("blocks.")}
        config = ViTConfig(
            hidden_size=width,
            num_hidden_layers=len(blocks),
            num_attention_heads=max(1, width // _HEAD_WIDTH),
            intermediate_size=weights["blocks.0.mlp.fc1.weight"].shape[0],
            image_size=math.isqrt(places - 1) * patch,
            patch_size=patch,
            layer_norm_eps=_EPS,
        )
        found: tuple[Any, Mapping[str, Any]] = ViTModel.from_pretrained(
            None,
            config=config,
            state_dict=_renamed(weights),
            attn_implementation="sdpa",
            output_loading_info=True,
            add_pooling_layer=False,
        )
        return found


def _renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's weights by the names of transformers."""
    found = {
        "embeddings.cls_token": weights["cls_token"],
        "embeddings.position_embeddings": weights["pos_embed"],
    }
    for name, weight in weights.items():
        layer, _, kind = name.rpartition(".")
        if layer == "patch_embed.proj":
            found[f"embeddings.patch_embeddings.projection.{kind}"] = weight
        elif layer == "norm":
            found[f"layernorm.{kind}"] = weight
        elif layer.startswith("blocks."):
            _, index, place = layer.split(".", 2)
            block = f"encoder.layer.{index}"
            if place == "attn.qkv":
                for facet, part in zip(("query", "key", "value"), weight.chunk(3), strict=True):
                    found[f"{block}.attention.attention.{facet}.{kind}"] = part
            else:
                found[f"{block}.{_NAMES[place]}.{kind}"] = weight
    return found
