"""BridgeTower against transformers' own forward pass, small and at full size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from matchers import (
    build,
    check_prompts,
    check_real_size,
    pictures,
    roberta_tokenizer,
    tokenizer,
    wrap,
)
from transformers import BridgeTowerConfig, BridgeTowerForImageAndTextRetrieval

TEXTS = ["a cat", "the red sofa on a traffic light"]


def tiny() -> Any:
    return build("bridgetower")


def unshared() -> Any:
    """Every level with a projection of its own, and another kind of bridge."""
    config = build("bridgetower").config.to_dict() | {
        "share_cross_modal_transformer_layers": False,
        "link_tower_type": "interpolate",
    }
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return BridgeTowerForImageAndTextRetrieval(BridgeTowerConfig.from_dict(config)).eval()


@pytest.mark.parametrize("make", [tiny, unshared])
@pytest.mark.parametrize("side", [32, 48])
def test_matching_is_transformers_own(tmp_path: Path, side: int, make: Any) -> None:
    model, images = make(), pictures(2, side, side)
    tokens = tokenizer(tmp_path)(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model(**tokens, pixel_values=images, interpolate_pos_encoding=True).logits
    matcher = wrap("bridgetower", tmp_path, model=model)
    match = matcher.match(matcher.encode_images(images), TEXTS)
    torch.testing.assert_close(match.logits.diagonal(), expected[:, 1], rtol=1e-5, atol=5e-5)
    torch.testing.assert_close(match.probabilities.diagonal(), expected.softmax(dim=1)[:, 1])


def test_a_text_of_several_images_is_encoded_once(tmp_path: Path) -> None:
    matcher = wrap("bridgetower", tmp_path)
    sizes = []
    matcher._towers.text_model.encoder.layer[0].register_forward_hook(
        lambda _, args, __: sizes.append(len(args[0]))
    )
    features = matcher.encode_images(pictures(3))
    cat, dog = (matcher.prompts([name])[0] for name in ("cat", "dog"))
    matcher.cross_attention(features, [cat, dog, cat], 0)
    assert sizes == [2]


def test_names_in_several_pieces() -> None:
    matcher = wrap("bridgetower", roberta_tokenizer())
    check_prompts(matcher, ["cat", "sofa", "sky", "ice"])


@pytest.mark.slow
def test_the_real_size() -> None:
    """BridgeTower/bridgetower-large-itm-mlm: ViT-L/14, RoBERTa-large, six cross-modal layers."""
    text = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
    }
    vision = {"hidden_size": 1024, "num_hidden_layers": 24, "patch_size": 14, "image_size": 294}
    config = BridgeTowerConfig(
        hidden_size=1024, num_attention_heads=16, text_config=text, vision_config=vision
    )
    torch.manual_seed(0)
    model = BridgeTowerForImageAndTextRetrieval(config)
    matcher = wrap("bridgetower", roberta_tokenizer(), model=model)
    assert (matcher.image_size, matcher.patch_size) == (294, 14)
    assert (matcher.layers, matcher.heads, matcher.max_tokens) == (6, 16, 512)
    check_real_size(matcher, 336, layer=1)
