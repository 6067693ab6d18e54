"""CLIPSeg's own class, small enough for tests: squares of 32 pixels, patches of 16 as the real."""

from __future__ import annotations

from typing import Any

import torch
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.prompted.clipseg import CLIPSeg

_WIDE: dict[str, Any] = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}


def model(fine: bool = True) -> Any:
    """Random weights, larger than a new model's, so that texts and places differ."""
    config = CLIPSegConfig(
        text_config={**_WIDE, "num_hidden_layers": 1},
        vision_config={**_WIDE, "num_hidden_layers": 4, "image_size": 32, "patch_size": 16},
        projection_dim=12,
        reduce_dim=8,
        extract_layers=(0, 1, 3),
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
        use_complex_transposed_convolution=fine,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = CLIPSegForImageSegmentation(config)
        for weight in made.parameters():
            if weight.ndim > 1:
                weight.data.normal_(std=0.3)
    return made.eval()


def clipseg(runtime: Runtime | None = None) -> CLIPSeg:
    """As a method loads it."""
    record = CheckpointRecord("clipseg", "random weights", None, None)
    return CLIPSeg(model(), (record,), runtime or Runtime())
