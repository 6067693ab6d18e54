"""Image-text matchers small enough for every test, with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    AutoTokenizer,
    BertTokenizer,
    BlipConfig,
    BlipForImageTextRetrieval,
    BridgeTowerConfig,
    BridgeTowerForImageAndTextRetrieval,
    RobertaTokenizer,
)

from ovbench.harness.contract.runtime import CheckpointRecord, Precision, Runtime
from ovbench.models.matchers.blip import BLIP
from ovbench.models.matchers.bridgetower import BridgeTower
from ovbench.models.matchers.matcher import Matcher, Normalisation
from ovbench.toyworld.train.teaching.words import vocabulary, write_tokenizer

WORDS = vocabulary(["a picture of cat dog bird traffic light on the red sofa"])
NORMALISATION = Normalisation((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
SIZE, PATCH, POSITIONS = 32, 8, 24
CLASSES = {"blip": BLIP, "bridgetower": BridgeTower}
HEADS = {"blip": "itm_head", "bridgetower": "itm_score.fc"}


def tokenizer(folder: Path) -> Any:
    write_tokenizer(WORDS, folder, POSITIONS)
    return AutoTokenizer.from_pretrained(folder)


def build(role: str) -> Any:
    """The transformers model; one image level has other widths than the text."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = BlipForImageTextRetrieval(blip_config()) if role == "blip" else _bridgetower()
        head = model.get_submodule(HEADS[role])
        torch.nn.init.normal_(head.weight)  # so that matches differ visibly
    return model.eval()


def blip_config() -> BlipConfig:
    text = {
        "vocab_size": len(WORDS) + 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": POSITIONS,
        "bos_token_id": len(WORDS),
        "sep_token_id": len(WORDS) - 1,
        "initializer_range": 0.2,
    }
    vision = {
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "image_size": SIZE,
        "patch_size": PATCH,
        "initializer_range": 0.2,
    }
    return BlipConfig(text_config=text, vision_config=vision, initializer_range=0.2)


def _bridgetower() -> Any:
    text = {
        "vocab_size": len(WORDS),
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "max_position_embeddings": POSITIONS + 1,  # behind the padding token's id, 0
        "pad_token_id": 0,
    }
    vision = {
        "hidden_size": 128,
        "num_hidden_layers": 4,
        "image_size": SIZE,
        "patch_size": PATCH,
    }
    config = BridgeTowerConfig(
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        text_config=text,
        vision_config=vision,
        initializer_factor=3,
    )
    return BridgeTowerForImageAndTextRetrieval(config)


def save(role: str, folder: Path) -> Any:
    """Write a folder as the hub has it, with weights in half precision; returns the model."""
    model = build(role).half()
    model.save_pretrained(folder)
    tokenizer(folder)
    pixels = {"image_mean": NORMALISATION.mean, "image_std": NORMALISATION.std}
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
    return model


def bert_tokenizer() -> Any:
    """BERT's own class and special ids; its pieces are single letters."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    special = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
    pieces = (*letters, *(f"##{letter}" for letter in letters))
    return BertTokenizer(vocab=special | {piece: 1000 + i for i, piece in enumerate(pieces)})


def roberta_tokenizer() -> Any:
    """RoBERTa's own class and special ids; its pieces are single bytes."""
    special = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 50264}
    pieces = sorted(ByteLevel.alphabet())
    vocabulary = special | {piece: 4 + i for i, piece in enumerate(pieces)}
    return RobertaTokenizer(vocab=vocabulary, merges=[])


def wrap(role: str, text: Any, precision: Precision = "fp32", model: Any = None) -> Matcher:
    """The wrapper around a model, by default a new tiny one.

    Args:
        text: a tokenizer, or a folder to write the tiny one to.
    """
    record = CheckpointRecord(role, f"tiny {role}", None, None)
    text = tokenizer(text) if isinstance(text, Path) else text
    runtime = Runtime(precision=precision)
    return CLASSES[role](model or build(role), text, NORMALISATION, (record,), runtime)


def check_prompts(matcher: Matcher, names: list[str]) -> None:
    """Names in several pieces are found again in the tokenized text."""
    prompts = matcher.prompts(names)
    assert len(prompts) > 1
    found = []
    for prompt in prompts:
        assert len(prompt.token_ids) <= matcher.max_tokens
        pieces = [[prompt.token_ids[i] for i in place] for place in prompt.positions]
        found += [matcher._tokenizer.decode(ids).strip() for ids in pieces]
        text = matcher._tokenizer.decode(prompt.token_ids, skip_special_tokens=True)
        assert list(prompt.token_ids) == matcher._tokenizer(text).input_ids
    assert found == names


def check_real_size(matcher: Matcher, side: int, layer: int) -> None:
    """One picture through a model at full size; weights are random."""
    features = matcher.encode_images(pictures(1, side, side))
    names = [f"{first}{second}" for first in "abcdefgh" for second in "stuvwxyzij"]
    (prompt,) = matcher.prompts(names)
    assert len(prompt.positions) == 80
    seen = matcher.cross_attention(features, [prompt], layer)
    grid = (side // matcher.patch_size,) * 2
    assert seen.gradients.shape == (1, matcher.heads, len(prompt.token_ids), *grid)
    assert seen.gradients.isfinite().all()
    assert seen.gradients.abs().max() > 0
    sums = seen.probabilities.sum(dim=(-1, -2))
    # The rest goes to [CLS], which may get next to nothing: rounding then sums up to 1 and a bit.
    assert ((sums > 0.9) & (sums < 1 + 1e-5)).all()
    match = matcher.match(features, ["a cat", "a picture of two dogs"])
    assert ((match.probabilities > 0) & (match.probabilities < 1)).all()


def pictures(count: int, height: int = SIZE, width: int = SIZE) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(count))
