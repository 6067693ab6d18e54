"""The last block with another attention, against open_clip's own forward and plain loops."""

from __future__ import annotations

from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.clip.last_block import attend, own_attention, values_alone
from ovbench.models.clip.model import load_clip
from ovbench.models.clip.trunk import Heads, embed, run_trunk

pytestmark = pytest.mark.usefixtures("tiny_clips")


def tower() -> Any:
    torch.manual_seed(0)
    return open_clip.create_model("tiny-vit", load_weights=False).visual.eval()


@torch.no_grad()
def test_with_its_own_attention_the_tower_answers_as_open_clip_does() -> None:
    visual, images = tower(), torch.randn(2, 3, 32, 32)
    visual.output_tokens = True
    visual.pool_type = "tok"
    features, whole = attend(run_trunk(visual, images), own_attention, residual=True, mlp=True)
    pooled, tokens = visual(images)
    assert torch.allclose(whole, pooled, atol=1e-5)
    assert torch.allclose(features.flatten(2).mT, tokens @ visual.proj, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("mlp", [True, False])
def test_another_attention_against_a_loop_over_heads_and_tokens(residual: bool, mlp: bool) -> None:
    """Keys look at keys, as several methods have it; the grid is not square."""
    visual, images = tower(), torch.randn(1, 3, 24, 40)
    grids = []

    def of_keys(heads: Heads) -> Tensor:
        grids.append(heads.grid)
        alike = heads.key @ heads.key.mT * heads.key.shape[-1] ** -0.5
        return alike.softmax(dim=-1) @ heads.value

    entering: list[Tensor] = []
    block = visual.transformer.resblocks[-1]
    hook = block.register_forward_pre_hook(lambda _, args: entering.append(args[0]))
    found, whole = attend(run_trunk(visual, images), of_keys, residual=residual, mlp=mlp)
    hook.remove()
    assert not entering  # the block itself is not called: its parts are
    state = _before_the_last(visual, images)
    joint = block.ln_1(state) @ block.attn.in_proj_weight.T + block.attn.in_proj_bias
    width, heads = state.shape[-1], block.attn.num_heads
    size = width // heads
    mixed = torch.zeros_like(state)
    for head in range(heads):
        of_head = slice(head * size, (head + 1) * size)
        key, value = (joint[0, :, width * i :][:, of_head] for i in (1, 2))
        for token in range(state.shape[1]):
            weights = ((key @ key[token]) / size**0.5).softmax(dim=0)
            mixed[0, token, of_head] = weights @ value
    expected = block.attn.out_proj(mixed) + (state if residual else 0)
    if mlp:
        expected = expected + block.mlp(block.ln_2(expected))
    expected = visual.ln_post(expected) @ visual.proj
    assert grids == [(3, 5)]
    assert found.shape[2:] == (3, 5)
    assert torch.allclose(whole, expected[:, 0], atol=1e-5)
    assert torch.allclose(found.flatten(2).mT, expected[:, 1:], atol=1e-5)


def _before_the_last(visual: Any, images: Tensor) -> Tensor:
    """By the earlier blocks' own forward passes."""
    tokens, _ = embed(visual, images)
    for block in visual.transformer.resblocks[:-1]:
        tokens = block(tokens)
    return tokens


@torch.no_grad()
def test_what_mends_a_block_goes_into_the_next() -> None:
    visual, images = tower(), torch.randn(1, 3, 24, 40)
    blocks = visual.transformer.resblocks
    seen = []

    def mending(tokens: Tensor, weights: Tensor, grid: tuple[int, int]) -> Tensor:
        seen.append(grid)
        return tokens + weights.mean(dim=1).diagonal(dim1=1, dim2=2)[..., None]

    found = run_trunk(visual, images, states=range(len(blocks) - 1), mending=mending)
    tokens, _ = embed(visual, images)
    for i, block in enumerate(blocks[:-1]):
        entering = block.ln_1(tokens)
        _, weights = block.attn(entering, entering, entering, need_weights=True)
        tokens = block(tokens) + weights.diagonal(dim1=1, dim2=2)[..., None]
        torch.testing.assert_close(found.states[i], tokens, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.tokens, tokens, rtol=1e-4, atol=1e-4)
    assert seen == [(3, 5)] * (len(blocks) - 1)


@torch.no_grad()
def test_values_alone_are_maskclips_path() -> None:
    clip = load_clip("ViT-B-16", "openai", Runtime(checkpoints="toy"))
    images = torch.randn(2, 3, 96, 64)
    for kept in (True, False):
        features, _ = clip.attended_features(images, values_alone, residual=kept, mlp=kept)
        expected = clip.dense_features(images, residual=kept).values
        assert torch.allclose(features, expected, atol=1e-4)


def test_a_resnet_has_no_such_block() -> None:
    clip = load_clip("tiny-resnet", "random", Runtime())
    with pytest.raises(UsageError, match="plain vision transformers"):
        clip.attended_features(torch.randn(1, 3, 32, 32), own_attention)
