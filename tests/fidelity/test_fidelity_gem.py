"""GEM against its released attention, and its two streams against a plain loop."""

from __future__ import annotations

from typing import Any

import oracles
import pytest
import torch
from oracles import built, picture, require_close, rows, vectors
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.dense_clip.gem import GEM, self_self
from ovbench.models.clip.trunk import run_block, run_trunk


@torch.inference_mode()
def test_self_self_attention() -> None:
    given, expected = vectors("gem_inputs"), vectors("gem")
    names = {"qkv.": "in_proj_", "proj.": "out_proj."}
    weights = {
        name.replace(theirs, ours): value
        for name, value in given.items()
        for theirs, ours in names.items()
        if name.startswith(theirs)
    }
    block = oracles.attention_alone(given["tokens"].transpose(0, 1), weights, 4, (7, 7))
    require_close(self_self(block).transpose(0, 1), expected["self_self"])


def plain_self_self(block: Any, tokens: Tensor) -> Tensor:
    """Of one picture, head by head; ``(n, width)``."""
    entering = block.ln_1(tokens)
    joint = entering @ block.attn.in_proj_weight.T + block.attn.in_proj_bias
    count = block.attn.num_heads
    side = tokens.shape[1] // count
    sharpness = entering.norm(dim=1).mean() * side**-0.5
    query, key, value = (part.split(side, dim=1) for part in joint.chunk(3, dim=1))
    heads = []
    for head in range(count):
        found = torch.zeros_like(value[head])
        for facet in (value, key, query):
            unit = functional.normalize(facet[head], dim=1)
            unit = functional.normalize((sharpness * unit @ unit.T).softmax(1) @ unit, dim=1)
            found += (sharpness * unit @ unit.T).softmax(1) @ value[head] / 3
        heads.append(found)
    return block.attn.out_proj(torch.cat(heads, dim=1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("shape", ["square", "wide"])
@pytest.mark.parametrize("blocks", [1, 6])
@torch.inference_mode()
def test_the_second_stream(shape: str, blocks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    method = built(monkeypatch, GEM, last_blocks=blocks)
    visual = oracles.clip()._model.visual
    own = run_trunk(visual, picture(shape), -blocks, positions="antialias").tokens
    second = own.clone()
    for block in visual.transformer.resblocks[-blocks:]:
        second[0] += plain_self_self(block, own[0])
        own = run_block(block, own)
    expected = (visual.ln_post(second) @ visual.proj)[:, 1:]
    require_close(rows(method.features(picture(shape))), expected)


@torch.inference_mode()
def test_every_window_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    method = built(monkeypatch, GEM)
    windows = torch.cat([picture("square"), picture("square").flip(-1)])
    together = method.features(windows)
    require_close(together, torch.cat([method.features(window[None]) for window in windows]))


@torch.inference_mode()
def test_without_residual_only_the_last_block_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    one, six = (
        built(monkeypatch, GEM, residual=False, last_blocks=blocks).features(picture("small"))
        for blocks in (1, 6)
    )
    assert torch.equal(one, six)
    assert not torch.allclose(one, built(monkeypatch, GEM).features(picture("small")))


@torch.inference_mode()
def test_scores_from_least_to_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, stretched = (built(monkeypatch, GEM, min_max=on) for on in (False, True))
    plain.text = stretched.text = torch.eye(3, 24)
    raw, found = plain.cosines(picture("wide")), stretched.cosines(picture("wide"))
    for text in range(3):
        least, most = raw[0, text].min(), raw[0, text].max()
        torch.testing.assert_close(found[0, text], (raw[0, text] - least) / (most - least))
