"""BLIP against transformers' own forward pass, small and at full size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from matchers import (
    WORDS,
    bert_tokenizer,
    build,
    check_prompts,
    check_real_size,
    pictures,
    tokenizer,
    wrap,
)

from ovbench.models.matchers.blip import encoder_token

TEXTS = ["a cat", "the red sofa on a traffic light"]


def stock_logits(model: Any, images: torch.Tensor, tokens: Any) -> torch.Tensor:
    outputs = model(
        input_ids=tokens.input_ids,
        attention_mask=tokens.attention_mask,
        pixel_values=images,
        interpolate_pos_encoding=True,
    )
    return outputs.itm_score


@pytest.mark.parametrize("side", [32, 48])
def test_matching_is_transformers_own(tmp_path: Path, side: int) -> None:
    images = pictures(2, side, side)
    tokens = tokenizer(tmp_path)(TEXTS, padding=True, return_tensors="pt")
    tokens.input_ids[:, 0] = len(WORDS) + 1
    matcher = wrap("blip", tmp_path)
    with torch.no_grad():
        expected = stock_logits(build("blip"), images, tokens)
    match = matcher.match(matcher.encode_images(images), TEXTS)
    torch.testing.assert_close(match.logits.diagonal(), expected[:, 1])
    torch.testing.assert_close(match.probabilities.diagonal(), expected.softmax(dim=1)[:, 1])


def test_encoder_token_is_the_hub_checkpoints() -> None:
    from transformers import BlipConfig

    assert encoder_token(BlipConfig()) == 30523


def test_prompts_are_not_changed_by_the_encoder_token(tmp_path: Path) -> None:
    matcher = wrap("blip", tmp_path)
    (prompt,) = matcher.prompts(["cat"])
    matcher.cross_attention(matcher.encode_images(pictures(1)), [prompt], 0)
    assert prompt == matcher.prompts(["cat"])[0]
    assert prompt.token_ids[0] == WORDS.index("[SOS]")


def test_names_in_several_pieces(tmp_path: Path) -> None:
    matcher = wrap("blip", bert_tokenizer())
    check_prompts(matcher, ["cat", "sofa", "sky", "ice"])


@pytest.mark.slow
def test_the_real_size() -> None:
    """Salesforce/blip-itm-large-*: 384-pixel ViT-L/16, BERT-base; every layer is built."""
    from transformers import BlipConfig, BlipForImageTextRetrieval

    vision = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "initializer_range": 0.02,
    }
    config = BlipConfig(vision_config=vision, text_config={"num_attention_heads": 12})
    torch.manual_seed(0)
    matcher = wrap("blip", bert_tokenizer(), model=BlipForImageTextRetrieval(config))
    assert (matcher.image_size, matcher.patch_size) == (384, 16)
    assert (matcher.layers, matcher.heads, matcher.max_tokens) == (12, 12, 512)
    check_real_size(matcher, 336, layer=7)
