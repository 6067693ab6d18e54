"""SAM 2 of the stock classes, small enough for tests."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    Sam2Config,
    Sam2HieraDetConfig,
    Sam2MaskDecoderConfig,
    Sam2Model,
    Sam2PromptEncoderConfig,
    Sam2VideoConfig,
    Sam2VideoModel,
    Sam2VisionConfig,
)

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.sam.sam2 import Sam2

SIDE = 64
_WIDTH = 32


def _parts() -> dict[str, Any]:
    hiera = Sam2HieraDetConfig(
        hidden_size=8, image_size=[SIDE, SIDE], blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64], num_attention_heads_per_stage=[1, 2, 4, 8],
        window_size_per_stage=[4, 2, 4, 2], global_attention_blocks=[3],
        window_positional_embedding_background_size=[4, 4],
    )  # fmt: skip
    vision = Sam2VisionConfig(
        backbone_config=hiera, backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]], fpn_hidden_size=_WIDTH,
    )  # fmt: skip
    prompts = Sam2PromptEncoderConfig(hidden_size=_WIDTH, image_size=SIDE, patch_size=16)
    sizes = {"mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
    return {
        "vision_config": vision.to_dict(),
        "prompt_encoder_config": prompts.to_dict(),
        "mask_decoder_config": Sam2MaskDecoderConfig(hidden_size=_WIDTH, **sizes).to_dict(),
    }


def _large_weights(model: Any) -> Any:
    """So large that prompts matter and no parameter is what it is made as."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.normal_(std=0.3)
    return model.eval()


def sam2_model() -> Any:
    """A ``Sam2Model`` of 64 pixels, whose masks have 16 logits a side."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _large_weights(Sam2Model(Sam2Config(**_parts())))


def sam2_video_model() -> Any:
    """What the published files hold: the same model with a memory for videos."""
    memory = {
        "memory_attention_hidden_size": _WIDTH, "memory_encoder_hidden_size": _WIDTH,
        "memory_encoder_output_channels": 16, "memory_attention_feed_forward_hidden_size": 32,
        "memory_attention_num_layers": 1, "memory_attention_rope_feat_sizes": [4, 4],
        "mask_downsampler_embed_dim": 32, "memory_fuser_embed_dim": _WIDTH,
        "memory_fuser_intermediate_dim": 32,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _large_weights(
            Sam2VideoModel(Sam2VideoConfig(**_parts(), image_size=SIDE, **memory))
        )


def sam2() -> Sam2:
    """As a method loads it."""
    return Sam2(sam2_model(), (CheckpointRecord("sam", "random", None, None),), Runtime())
