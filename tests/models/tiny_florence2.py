"""Florence-2's own class and processor, small enough for tests: squares of 64 pixels."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Florence2Config, Florence2ForConditionalGeneration

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.prompted.florence2 import Florence2, made_up_processor

WORDS = (
    "<unk>",
    "Locate",
    "in",
    "the",
    "image",
    "with",
    "mask",
    ".",
    "cat",
    "dog",
    "puppy",
    "road",
)


def processor() -> Any:
    """With the marks of the real one."""
    return made_up_processor(WORDS, 64)


def model() -> Any:
    """Random weights; nearly all of its words are places, so that most answers can be drawn."""
    words = processor()
    config = Florence2Config(
        vision_config={
            "embed_dim": (8, 8, 16, 16),
            "num_heads": (2, 2, 2, 2),
            "num_groups": (2, 2, 2, 2),
            "depths": (1, 1, 1, 1),
            "window_size": 4,
            "projection_dim": 16,
        },
        text_config={
            "model_type": "bart",
            "vocab_size": len(words.tokenizer),
            "d_model": 16,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_ffn_dim": 16,
            "decoder_ffn_dim": 16,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "max_position_embeddings": 256,
        },
        image_token_id=words.image_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Florence2ForConditionalGeneration(config)
        for weight in made.parameters():
            if weight.ndim > 1:
                weight.data.normal_(std=0.4)
    return made.eval()


def florence2(runtime: Runtime | None = None) -> Florence2:
    """As a method loads it."""
    record = CheckpointRecord("florence2", "random weights", None, None)
    return Florence2(model(), processor(), (record,), runtime or Runtime())
