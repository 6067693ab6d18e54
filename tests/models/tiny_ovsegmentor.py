"""An OVSegmentor of two short stages, with a BERT that knows 79 tokens."""

from __future__ import annotations

from typing import Any

import torch

from ovbench.models.grouping.ovsegmentor import OVSegmentorNetwork

VISION: dict[str, Any] = {
    "hidden_size": 24, "intermediate_size": 48, "depths": [2, 1], "num_hidden_layers": 3,
    "num_group_tokens": [6, 0], "num_output_groups": [4, 4], "num_attention_heads": 2,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip
TEXT: dict[str, Any] = {
    "vocab_size": 79, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 2, "max_position_embeddings": 32,
}  # fmt: skip


def tiny_ovsegmentor() -> OVSegmentorNetwork:
    torch.manual_seed(0)
    network = OVSegmentorNetwork(VISION, TEXT)
    torch.nn.init.normal_(network.vision_model.encoder.stages[0].group_token)
    return network
