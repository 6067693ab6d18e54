"""Towers that end in a pool, against timm's own forward pass with a pool that sees one location."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_timm
import torch
from torch import Tensor

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.clip.model import CLIP, load_clip

pytestmark = pytest.mark.usefixtures("tiny_clips")
BUILD = {"tiny-map": tiny_timm.tiny_siglip, "tiny-pe": tiny_timm.tiny_pe}
CLASSES = {"tiny-map": 0, "tiny-pe": 32}
both = pytest.mark.parametrize("name", BUILD)


def load(name: str) -> CLIP:
    """Random weights with none of timm's zeros, which would hide mistakes."""
    clip = load_clip(name, "random", Runtime())
    generator = torch.Generator().manual_seed(0)
    for parameter in clip._model.visual.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return clip


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def one_at_a_time(trunk: Any, head: Any, images: Tensor, grid: tuple[int, int]) -> Tensor:
    """The whole model, once for every location, with the pool masked to it."""
    tokens, found = trunk.forward_features(images), []
    for place in range(trunk.num_prefix_tokens, tokens.shape[1]):
        mask = torch.full((1, tokens.shape[1]), -torch.inf)
        mask[0, place] = 0
        pooled = trunk.attn_pool(tokens, attn_mask=mask)
        found.append(head(trunk.head(trunk.fc_norm(pooled))))
    return torch.stack(found, dim=-1).reshape(len(images), -1, *grid)


@both
def test_every_location_is_pooled_alone(name: str) -> None:
    clip, images = load(name), noise(2, 3, 32, 32)
    visual = clip._model.visual
    expected = one_at_a_time(visual.trunk, visual.head, images, (4, 4))
    found = clip.dense_features(images, residual=False)
    assert found.values.shape == (2, 32, 4, 4)
    torch.testing.assert_close(found.values, expected, atol=1e-5, rtol=1e-4)
    again = clip.dense_features(images, residual=True)
    assert torch.equal(found.values, again.values)


@both
def test_at_another_size_it_is_what_timm_makes_of_it(name: str) -> None:
    clip, images = load(name), noise(1, 3, 24, 56)
    visual = clip._model.visual
    other = BUILD[name](dynamic_img_size=True, num_classes=CLASSES[name]).eval()
    other.load_state_dict(visual.trunk.state_dict())
    expected = one_at_a_time(other, visual.head, images, (3, 7))
    found = clip.dense_features(images, residual=False).values
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@both
def test_whole_images_are_embedded_as_before(name: str) -> None:
    clip, images = load(name), noise(2, 3, 32, 32)
    before = clip.encode_image(images)
    clip.dense_features(noise(1, 3, 16, 48), residual=False)
    assert torch.equal(clip.encode_image(images), before)


@both
def test_keys_are_what_the_pool_compares_its_query_with(name: str) -> None:
    clip, images = load(name), noise(1, 3, 32, 32)
    trunk, caught = clip._model.visual.trunk, []
    hook = trunk.attn_pool.kv.register_forward_hook(lambda *x: caught.append(x[2]))
    clip.encode_image(images)
    hook.remove()
    expected = caught[0][:, trunk.num_prefix_tokens :, :32].mT.reshape(1, 32, 4, 4)
    keys = clip.dense_features(images, residual=False).keys
    assert keys is not None
    torch.testing.assert_close(keys, expected, atol=1e-5, rtol=1e-4)


@both
def test_half_precision_is_near(name: str) -> None:
    images = noise(1, 3, 24, 40)
    exact, coarse = (load_clip(name, "random", Runtime(precision=p)) for p in ("fp32", "bf16"))  # type: ignore[arg-type]
    values = [clip.dense_features(images, residual=False).values for clip in (exact, coarse)]
    assert values[1].dtype == torch.float32
    assert torch.cosine_similarity(*values, dim=1).min() > 0.98
