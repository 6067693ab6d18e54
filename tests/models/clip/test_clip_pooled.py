"""Towers that end in a pool, against timm's own forward pass with a pool that sees one location."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_timm
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.clip.model import CLIP, load_clip
from ovbench.models.clip.pooled import AttentionPool, has_pool

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


def parts_are_those_of_the_pool(visual: Any, pool: AttentionPool, images: Tensor) -> None:
    """Of timm's own pool, with a query that looks at all alike and an MLP that adds nothing."""
    trunk = visual.trunk
    whole = trunk.forward_features(images)[:, trunk.num_prefix_tokens :]
    tokens = pool.tokens(images)
    torch.testing.assert_close(tokens.flatten(2).mT, whole, atol=1e-5, rtol=1e-4)
    kept = {name: value.clone() for name, value in trunk.attn_pool.state_dict().items()}
    for layer in (trunk.attn_pool.q, trunk.attn_pool.mlp.fc2):
        for parameter in layer.parameters():
            parameter.data.zero_()
    some = whole[:, 3:9]
    expected = visual.head(trunk.head(trunk.fc_norm(trunk.attn_pool(some))))
    trunk.attn_pool.load_state_dict(kept)
    found = pool.through(some.mean(dim=1))
    torch.testing.assert_close(normalize(found), normalize(expected), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.norm(), expected.norm())


@both
@torch.inference_mode()
def test_the_pool_is_taken_apart(name: str) -> None:
    clip = load(name)
    assert clip.pool is not None
    parts_are_those_of_the_pool(clip._model.visual, clip.pool, noise(2, 3, 32, 32))
    assert load_clip("tiny-vit", "random", Runtime()).pool is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ViT-B-16-SigLIP2", "PE-Core-B-16"])
@torch.inference_mode()
def test_the_real_pool_is_taken_apart(name: str) -> None:
    import open_clip
    from open_clip.model import _build_vision_tower

    config = open_clip.get_model_config(name)
    assert config is not None
    torch.manual_seed(0)
    visual = _build_vision_tower(config["embed_dim"], config["vision_cfg"]).eval()
    assert has_pool(visual)
    parts_are_those_of_the_pool(visual, AttentionPool(visual), noise(1, 3, 224, 224))
