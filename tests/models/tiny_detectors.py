"""Detectors of the stock classes and a SAM to draw with, small enough for tests."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    Owlv2Config,
    Owlv2ForObjectDetection,
    SwinConfig,
)

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.prompted.grounding_dino import GroundingDINO, arbitrary_words
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


def dino_model() -> Any:
    """Twelve boxes; random weights, so large that phrases differ."""
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
            out_indices=[2, 3, 4],
        ),
        text_config=BertConfig(**_WIDE, num_hidden_layers=1),
        d_model=64, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, num_queries=12,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = GroundingDinoForObjectDetection(config)
        for name, weight in made.named_parameters():
            if weight.ndim > 1 and "bbox" not in name:
                weight.data.normal_(std=0.2)
    return made.eval()


def dino() -> GroundingDINO:
    """As a method loads it."""
    record = CheckpointRecord("grounding_dino", "random", None, None)
    return GroundingDINO(dino_model(), arbitrary_words, (record,), Runtime())


def sam() -> Sam:
    """Random weights, as a method loads it; its masks are larger than a few pixels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Sam(build_sam(SAM), (CheckpointRecord("sam", "random", None, None),), Runtime())
