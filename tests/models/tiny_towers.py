"""SimSeg's and CLIPpy's towers, tiny, in place of those of the published sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from transformers import BertConfig, BertModel, T5Config, T5EncoderModel, ViTConfig, ViTModel

from ovbench.models.towers import clippy, release, simseg

WORDS = 60


def tiny_vit(weights: object = None) -> ViTModel:
    config = ViTConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=1, intermediate_size=96,
        image_size=32, patch_size=8, layer_norm_eps=1e-6,
    )  # fmt: skip
    return ViTModel(config, add_pooling_layer=False)


def tiny_bert() -> BertModel:
    config = BertConfig(
        vocab_size=WORDS, hidden_size=24, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=40,
    )  # fmt: skip
    return BertModel(config, add_pooling_layer=False)


def tiny_t5() -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(vocab_size=WORDS, d_model=24, d_kv=12, d_ff=32, num_layers=2, num_heads=2)
    )


SIMSEG = replace(simseg.SIMSEG, text=tiny_bert, joint=20)
CLIPPY = replace(clippy.CLIPPY, text=tiny_t5)


def use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loaders make tiny ones; the file of an image tower still says its own size."""
    own: Any = release.empty_vit
    monkeypatch.setattr(release, "empty_vit", lambda w=None: own(w) if w else tiny_vit())
    monkeypatch.setattr(simseg, "SIMSEG", SIMSEG)
    monkeypatch.setattr(clippy, "CLIPPY", CLIPPY)
