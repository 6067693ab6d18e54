"""A SegGPT of a few thousand random weights, of transformers' own class."""

from __future__ import annotations

from typing import Any

import torch


def tiny_seggpt() -> Any:
    from transformers import SegGptConfig, SegGptForImageSegmentation

    torch.manual_seed(0)
    config = SegGptConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=(64, 32),
        patch_size=8,
        pretrain_image_size=32,
        decoder_hidden_size=8,
        merge_index=1,
        intermediate_hidden_state_indices=[1, 2, 3],
        initializer_range=0.3,
    )
    return SegGptForImageSegmentation(config)
