"""Painter's file: every weight finds its place, and what is not exactly its own is refused."""

from __future__ import annotations

from argparse import Namespace
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_seggpt import tiny_seggpt
from torch import Tensor

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.painter import TYPE_TOKENS, load_painter, read_file

# From transformers' names back to the authors', one after the other.
BACK = {
    "model.embeddings.position_embeddings": "pos_embed",
    "model.embeddings.segment_token_input": "segment_token_x",
    "model.embeddings.segment_token_prompt": "segment_token_y",
    "model.embeddings.patch_embeddings.projection": "patch_embed.proj",
    "model.embeddings.": "",
    "model.encoder.layers": "blocks",
    "model.encoder.layernorm": "norm",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    ".attention.": ".attn.",
    ".lin": ".fc",
    "decoder.decoder_pred.conv": "decoder_pred.0",
    "decoder.decoder_pred.layernorm": "decoder_pred.1",
    "decoder.decoder_pred.head": "decoder_pred.3",
    "decoder.decoder_embed": "decoder_embed",
}


def official(model: Any) -> dict[str, Tensor]:
    """The weights of a model but its type tokens, as the authors name them."""
    return {
        reduce(lambda told, pair: told.replace(*pair), BACK.items(), name): weight
        for name, weight in model.state_dict().items()
        if name not in TYPE_TOKENS
    }


def test_every_weight_finds_its_place(tmp_path: Path) -> None:
    model, file = tiny_seggpt(), tmp_path / "painter.pth"
    torch.save({"model": official(model), "args": Namespace(epochs=15)}, file)
    read = read_file(file, model.config)
    for name, weight in model.state_dict().items():
        assert name in TYPE_TOKENS or torch.equal(read.state_dict()[name], weight), name


def test_weights_that_are_missing_or_have_no_place_are_named(tmp_path: Path) -> None:
    model, file = tiny_seggpt(), tmp_path / "painter.pth"
    weights = official(model)
    lacking = {name: w for name, w in weights.items() if name != "blocks.2.attn.rel_pos_h"}
    for changed, name in (
        (lacking, r"lacks model\.encoder\.layers\.2\.attention\.rel_pos_h"),
        ({**weights, "head.weight": torch.zeros(1)}, r"has in addition head\.weight"),
        ({**weights, "blocks.2.head": torch.zeros(1)}, r"has in addition blocks\.2\.head"),
        ({**weights, "norm.bias": torch.zeros(3)}, r"shapes model\.encoder\.layernorm\.bias"),
    ):
        torch.save({"model": changed}, file)
        with pytest.raises(UsageError, match=name):
            read_file(file, model.config)


def test_the_miniature_is_its_own_and_has_no_tokens() -> None:
    painter = load_painter("painter_vit_large", Runtime(checkpoints="toy"))
    assert [(r.role, r.name) for r in painter.checkpoints] == [("painter", "toyworld/painter")]
    for name in TYPE_TOKENS:
        assert not painter._model.get_parameter(name).any()
