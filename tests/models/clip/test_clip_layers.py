"""Layers of CLIP's image transformer against a run through open_clip's own blocks."""

from __future__ import annotations

from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.clip.layers import read_layer
from ovbench.models.clip.model import load_clip
from ovbench.models.clip.trunk import plain_transformer

pytestmark = pytest.mark.usefixtures("tiny_clips")


def tower(name: str = "tiny-vit") -> Any:
    torch.manual_seed(0)
    return open_clip.create_model(name, load_weights=False).visual.eval()


def inputs_of_blocks(visual: Any, images: Tensor) -> list[Tensor]:
    seen: list[Tensor] = []
    blocks = visual.transformer.resblocks
    hooks = [b.register_forward_pre_hook(lambda _, args: seen.append(args[0])) for b in blocks]
    visual(images)
    for hook in hooks:
        hook.remove()
    return seen


@torch.no_grad()
def test_tokens_are_what_the_next_block_gets() -> None:
    visual, images = tower(), torch.randn(2, 3, 32, 32)
    states = inputs_of_blocks(visual, images)
    for layer in (0, 1):
        found = read_layer(visual, images, layer, "token")
        assert found.shape == (2, 64, 4, 4)
        assert torch.allclose(found.flatten(2).mT, states[layer + 1][:, 1:], atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("place", "facet"), list(enumerate(("query", "key", "value"))))
def test_facets_are_the_parts_of_the_joint_projection(place: int, facet: Any) -> None:
    visual, images = tower(), torch.randn(1, 3, 32, 32)
    block, state = visual.transformer.resblocks[1], inputs_of_blocks(visual, images)[1]
    normed = block.ln_1(state[:, 1:])
    joint = normed @ block.attn.in_proj_weight.T + block.attn.in_proj_bias
    found = read_layer(visual, images, -2, facet)
    expected = joint[..., 64 * place : 64 * (place + 1)]
    assert torch.allclose(found.flatten(2).mT, expected, atol=1e-5)


def test_other_sizes_and_the_packaged_miniature() -> None:
    clip = load_clip("ViT-B-16", "openai", Runtime(checkpoints="toy"))
    found = clip.patch_features(torch.randn(1, 3, 96, 64), layer=-2, facet="key")
    assert found.shape == (1, 128, 12, 8)


def test_a_resnet_has_no_such_layers() -> None:
    with pytest.raises(UsageError, match="plain vision transformers"):
        plain_transformer(tower("tiny-resnet"), "tiny-resnet")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "width"), [("ViT-B-16", 768), ("ViT-L-14-336", 1024)])
def test_the_real_sizes_run(name: str, width: int) -> None:
    """Random weights; the text tower reads, too."""
    clip = load_clip(name, "random", Runtime())
    side = 14 * clip.stride
    images = torch.randn(1, 3, side, side)
    assert clip.patch_features(images, layer=-2, facet="key").shape == (1, width, 14, 14)
    values = clip.dense_features(images, residual=False).values
    assert values.shape == (1, clip.encode_text(["a cat"]).shape[1], 14, 14)
