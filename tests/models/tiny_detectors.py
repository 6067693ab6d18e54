"""Detectors of the stock classes and a SAM to draw with, small enough for tests."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Owlv2Config, Owlv2ForObjectDetection

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.prompted.owlv2 import OWLv2
from ovbench.models.sam.model import Sam, SamConfig, build_sam

_WIDE: dict[str, Any] = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
SAM = SamConfig(16, 2, 2, (1,), 4, 64, 8, 16, decoder_num_heads=2, decoder_mlp_dim=16,
                iou_head_hidden_dim=8)  # fmt: skip


def owlv2_model() -> Any:
    """Sixteen boxes in a square of 512 pixels; random weights, so large that texts differ.

    The stock processor's blur takes the longer the smaller the square is beside the picture.
    """
    config = Owlv2Config(
        text_config={**_WIDE, "num_hidden_layers": 1},
        vision_config={**_WIDE, "num_hidden_layers": 1, "image_size": 512, "patch_size": 128},
        projection_dim=16,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Owlv2ForObjectDetection(config)
        for weight in made.parameters():
            if weight.ndim > 1:
                weight.data.normal_(std=0.3)
    return made.eval()


def owlv2() -> OWLv2:
    """As a method loads it."""
    return OWLv2(owlv2_model(), (CheckpointRecord("owlv2", "random", None, None),), Runtime())


def sam() -> Sam:
    """Random weights, as a method loads it; its masks are larger than a few pixels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Sam(build_sam(SAM), (CheckpointRecord("sam", "random", None, None),), Runtime())
