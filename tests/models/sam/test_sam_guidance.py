"""Guided decoding, against the decoder written out with PerSAM's two changes in it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.sam.guidance import Guidance, guided
from ovbench.models.sam.model import Sam, SamConfig, build_sam

WIDTH, TOKENS, GRID = 16, 3, 4


@pytest.fixture(scope="module")
def sam() -> Sam:
    torch.manual_seed(0)
    config = SamConfig(
        encoder_embed_dim=16,
        encoder_depth=1,
        encoder_num_heads=2,
        encoder_global_attn_indexes=(0,),
        image_size=64,
        patch_size=16,
        prompt_embed_dim=WIDTH,
        decoder_depth=3,
        decoder_num_heads=2,
        decoder_mlp_dim=16,
        iou_head_hidden_dim=16,
    )
    record = CheckpointRecord("sam", "tiny", None, None)
    return Sam(build_sam(config), (record,), Runtime())


def attention(module: Any, q: Tensor, k: Tensor, v: Tensor, favour: Tensor | None = None) -> Tensor:
    """One head after the other."""
    q, k, v = module.q_proj(q)[0], module.k_proj(k)[0], module.v_proj(v)[0]
    size = q.shape[1] // module.num_heads
    answers = []
    for head in range(module.num_heads):
        part = slice(head * size, (head + 1) * size)
        weights = torch.softmax(q[:, part] @ k[:, part].T / math.sqrt(size), dim=1)
        if favour is not None:
            weights = torch.softmax(weights + favour[None], dim=1)
        answers.append(weights @ v[:, part])
    return module.out_proj(torch.cat(answers, dim=1))[None]


def written_out(
    model: Any, image: Tensor, positions: Tensor, tokens: Tensor, guidance: Guidance
) -> tuple[Tensor, Tensor]:
    """The transformer of the decoder as PerSAM's code has it."""
    keys, key_pe = (t.flatten(2).mT for t in (image, positions))
    zero = torch.zeros(WIDTH)
    target = zero if guidance.target is None else guidance.target
    query_pe = tokens + target  # in place, before the first block
    queries = query_pe
    for number, layer in enumerate(model.layers):
        if number:
            queries = queries + target
        if number == 0:
            queries = attention(layer.self_attn, queries, queries, queries)
        else:
            both = queries + query_pe
            queries = queries + attention(layer.self_attn, both, both, queries)
        queries = layer.norm1(queries)
        queries = layer.norm2(
            queries
            + attention(
                layer.cross_attn_token_to_image,
                queries + query_pe, keys + key_pe, keys, guidance.attention,
            )
        )  # fmt: skip
        queries = layer.norm3(queries + layer.mlp(queries))
        keys = layer.norm4(
            keys
            + attention(layer.cross_attn_image_to_token, keys + key_pe, queries + query_pe, queries)
        )
    last = attention(
        model.final_attn_token_to_image, queries + query_pe + target, keys + key_pe, keys
    )
    return model.norm_final_attn(queries + last), keys


def random(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


FAVOUR, TARGET = random(GRID * GRID, seed=5) * 3, random(WIDTH, seed=6)
KINDS = {
    "nothing": Guidance(),
    "attention": Guidance(attention=FAVOUR),
    "target": Guidance(target=TARGET),
    "both": Guidance(FAVOUR, TARGET),
}


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_guidance_changes_the_decoder_as_written(sam: Sam, kind: str) -> None:
    transformer = sam.model.mask_decoder.transformer
    inputs = random(1, WIDTH, GRID, GRID), random(1, WIDTH, GRID, GRID, seed=2)
    tokens = random(1, TOKENS, WIDTH, seed=3)
    before = transformer(*inputs, tokens)
    with guided(sam.model.mask_decoder, KINDS[kind]):
        found = transformer(*inputs, tokens)
    expected = written_out(transformer, *inputs, tokens, KINDS[kind])
    for ours, theirs, plain in zip(found, expected, before, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
        assert torch.allclose(ours, plain, atol=1e-4) == (kind == "nothing")
    # And nothing is left of it.
    for again, plain in zip(transformer(*inputs, tokens), before, strict=True):
        assert torch.equal(again, plain)


def test_hooks_are_gone_after_an_error(sam: Sam) -> None:
    decoder = sam.model.mask_decoder
    with pytest.raises(ZeroDivisionError), guided(decoder, KINDS["both"]):
        raise ZeroDivisionError
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in decoder.modules())


def test_guidance_reaches_predictions(sam: Sam) -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    encoded = sam.encode(image)
    prompt = {"points": [(20, 20)], "labels": [1], "multimask": False}
    plain = sam.predict(encoded, **prompt).low_res
    answers = [sam.predict(encoded, **prompt, guidance=KINDS[k]).low_res for k in KINDS]
    assert np.array_equal(answers[0], plain)
    assert all(not np.allclose(a, plain, atol=1e-3) for a in answers[1:])


def test_masks_on_the_features(sam: Sam) -> None:
    encoded = sam.encode(np.zeros((96, 128, 3), np.uint8))  # 48 x 64 within 64 x 64
    mask = np.zeros((96, 128), dtype=np.bool_)
    mask[:32, 64:96] = True  # the first row's third cell
    shares = sam.to_features(mask, encoded)
    expected = torch.zeros(GRID, GRID)
    expected[0, 2] = 1
    torch.testing.assert_close(shares, expected)
    everything = sam.to_features(np.ones((96, 128), dtype=np.bool_), encoded)
    assert everything.tolist() == [[1.0] * 4] * 3 + [[0.0] * 4]  # the last row is padding
