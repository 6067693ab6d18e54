"""RADSeg's recursive attention and its aggregation against what the released ones computed."""

from __future__ import annotations

import pytest
import torch
from oracles import require_close, vectors
from transformers import RadioConfig
from transformers.models.radio.modeling_radio import RadioAttention

from ovbench.models.radio import self_correlation
from ovbench.models.radio.self_correlation import (
    self_correlating_aggregation,
    self_correlating_attention,
)


@pytest.mark.parametrize("scale", [5, 10])
@torch.inference_mode()
def test_attention_looks_again_as_released(scale: int) -> None:
    given = vectors("radseg_inputs")
    attention = RadioAttention(RadioConfig(hidden_size=64, num_attention_heads=4))
    fused = {kind: given[f"attn.qkv.{kind}"].chunk(3) for kind in ("weight", "bias")}
    state = {
        f"{letter}_proj.{kind}": parts[i]
        for i, letter in enumerate("qkv")
        for kind, parts in fused.items()
    }
    state |= {f"o_proj.{kind}": given[f"attn.proj.{kind}"] for kind in ("weight", "bias")}
    attention.load_state_dict(state)
    found = self_correlating_attention(attention, given["tokens"], scale)
    require_close(found, vectors("radseg")[f"scra.scale{scale}"])


@pytest.mark.parametrize("rows", [4096, 50])
@torch.inference_mode()
def test_places_gather_as_released(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_correlation, "ROWS", rows)
    features, expected = vectors("radseg_inputs")["features"], vectors("radseg")
    for scale in (4, 10):
        found = self_correlating_aggregation(features, scale)
        require_close(found, expected[f"scga.scale{scale}"])
    require_close(self_correlating_aggregation(features[:1]), expected["scga.scale10.single"])
