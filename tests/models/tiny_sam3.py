"""SAM 3's own class, small enough for tests: pictures of 112 pixels, six object queries."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Sam3Config, Sam3Model

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.prompted.sam3 import SAM3

SIDE = 112
_WIDE: dict[str, Any] = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}


def config() -> Sam3Config:
    """Windows of four patches, of which the second block sees all."""
    backbone = {
        "model_type": "sam3_vit_model", "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIDE, "window_size": 4,
        "global_attn_indexes": [1], "pretrain_image_size": 56,
    }  # fmt: skip
    text = {
        "model_type": "clip_text_model", "projection_dim": 16, "num_hidden_layers": 1,
        "max_position_embeddings": 32, "hidden_act": "gelu", "vocab_size": 49408, **_WIDE,
    }  # fmt: skip
    return Sam3Config(
        vision_config={
            "backbone_config": backbone,
            "fpn_hidden_size": 16,
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        },
        text_config=text,
        geometry_encoder_config={**_WIDE, "num_layers": 1},
        detr_encoder_config={**_WIDE, "num_layers": 1},
        detr_decoder_config={**_WIDE, "num_layers": 2, "num_queries": 6},
        mask_decoder_config={"hidden_size": 16, "num_attention_heads": 2},
    )


def model(seed: int = 0) -> Any:
    """Random weights, larger than a new model's, so that phrases and places differ."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = Sam3Model(config())
        for name, weight in made.named_parameters():
            if weight.ndim > 1:
                weight.data.normal_(std=0.3 if "text" in name else 0.2)
    return made


def sam3(runtime: Runtime | None = None) -> SAM3:
    """As a method loads it."""
    record = CheckpointRecord("sam3", "random weights", None, None)
    return SAM3(model(), (record,), runtime or Runtime())
