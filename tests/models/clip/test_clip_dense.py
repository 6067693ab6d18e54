"""The value path against open_clip's own forward passes, with the attention made harmless."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import open_clip
import pytest
import torch
from torch import Tensor

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.clip.model import CLIP, load_clip
from ovbench.models.patches.positions import Positions, resize_positions

pytestmark = pytest.mark.usefixtures("tiny_clips")


def load(name: str, *, seed: int = 0) -> CLIP:
    """Random weights with none of open_clip's zeros, which would hide mistakes."""
    clip = load_clip(name, "random", Runtime(seed=seed))
    generator = torch.Generator().manual_seed(seed)
    for parameter in clip._model.parameters():
        if parameter.ndim < 2:
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return clip


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def self_attending(visual: Any, images: Tensor, *, residual: bool) -> Tensor:
    """open_clip's forward pass, its last attention masked so that a token sees itself alone."""
    tokens = visual._embeds(images)
    *blocks, last = visual.transformer.resblocks
    for block in blocks:
        tokens = block(tokens)
    alone = torch.full((tokens.shape[1],) * 2, -torch.inf).fill_diagonal_(0)
    if residual:
        tokens = last(tokens, attn_mask=alone)
    else:
        tokens = last.attention(last.ln_1(tokens), attn_mask=alone)
    return (visual.ln_post(tokens) @ visual.proj)[:, 1:].mT.reshape(len(images), -1, 4, 4)


@pytest.mark.parametrize("residual", [True, False])
def test_transformer_is_attention_to_oneself(residual: bool) -> None:
    clip, images = load("tiny-vit"), noise(2, 3, 32, 32)
    expected = self_attending(clip._model.visual, images, residual=residual)
    values = clip.dense_features(images, residual=residual).values
    torch.testing.assert_close(values, expected, atol=1e-5, rtol=1e-4)


def test_transformer_with_layer_scale() -> None:
    clip, images = load("tiny-vit"), noise(1, 3, 32, 32)
    from open_clip.transformer import LayerScale

    last = clip._model.visual.transformer.resblocks[-1]
    last.ls_1, last.ls_2 = LayerScale(64, 0.3), LayerScale(64, 0.7)
    expected = self_attending(clip._model.visual, images, residual=True)
    values = clip.dense_features(images, residual=True).values
    torch.testing.assert_close(values, expected, atol=1e-5, rtol=1e-4)


def test_transformer_keys_are_the_last_blocks() -> None:
    clip, images = load("tiny-vit"), noise(1, 3, 32, 32)
    last = clip._model.visual.transformer.resblocks[-1]
    keys = clip.dense_features(images, residual=False).keys
    with torch.no_grad():  # attention to oneself returns what stands where the values stood
        for part in (last.attn.in_proj_weight, last.attn.in_proj_bias):
            part[128:] = part[64:128]
        tokens = clip._model.visual._embeds(images)
        for block in clip._model.visual.transformer.resblocks[:-1]:
            tokens = block(tokens)
        alone = torch.full((17, 17), -torch.inf).fill_diagonal_(0)
        expected = last.attention(last.ln_1(tokens), attn_mask=alone)[:, 1:]
    assert keys is not None
    torch.testing.assert_close(keys[0].flatten(1).mT, expected[0], atol=1e-5, rtol=1e-4)


def test_transformer_at_another_size_is_a_model_of_that_size() -> None:
    clip, images = load("tiny-vit"), noise(1, 3, 24, 56)
    visual = clip._model.visual
    config = open_clip.get_model_config("tiny-vit")
    config["vision_cfg"]["image_size"] = (24, 56)
    native = open_clip.CLIP(**config).visual.eval()
    state = visual.state_dict()
    state["positional_embedding"] = resize_positions(
        visual.positional_embedding.data, (4, 4), (3, 7)
    )
    native.load_state_dict(state)
    tokens = native._embeds(images)
    assert tokens.shape == (1, 22, 64)
    expected = clip.dense_features(images, residual=False)
    clip._model.visual = native
    del clip._tower
    again = clip.dense_features(images, residual=False)
    torch.testing.assert_close(expected.values, again.values)
    assert expected.values.shape == (1, 32, 3, 7)


def cubic(
    places: int, wanted: int, offset: float = 0.0, a: float = -0.75
) -> npt.NDArray[np.float64]:
    """Keys' cubic convolution with repeated borders; ``(wanted, places)``."""
    matrix = np.zeros((wanted, places))
    for i in range(wanted):
        centre = (i + 0.5) * places / (wanted + offset) - 0.5
        for j in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            t = abs(centre - j)
            near = (a + 2) * t**3 - (a + 3) * t**2 + 1
            far = a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
            matrix[i, min(max(j, 0), places - 1)] += near if t <= 1 else far
    return matrix


@pytest.mark.parametrize(("rule", "offset"), [("exact", 0.0), ("dino", 0.1)])
def test_positions_are_resized_by_cubic_convolution(rule: Positions, offset: float) -> None:
    embedding = noise(1 + 4 * 5, 6)
    resized = resize_positions(embedding, (4, 5), (7, 3), rule)
    patches = embedding[1:].reshape(4, 5, 6).double().numpy()
    rows, columns = cubic(4, 7, offset), cubic(5, 3, offset)
    expected = np.einsum("yh,xw,hwc->yxc", rows, columns, patches)
    np.testing.assert_allclose(resized[1:].reshape(7, 3, 6), expected, atol=1e-5)
    assert torch.equal(resized[0], embedding[0])
    assert resize_positions(embedding, (4, 5), (4, 5), rule) is embedding


def test_resnet_of_one_location_is_the_whole_model() -> None:
    clip, image = load("tiny-resnet"), noise(2, 3, 32, 32)
    clip._model.visual.attnpool.positional_embedding.data.zero_()
    with torch.inference_mode():  # two equal tokens: attention returns their common value
        expected = clip._model.visual(image)
    values = clip.dense_features(image, residual=False).values
    assert values.shape == (2, 32, 1, 1)
    torch.testing.assert_close(values[..., 0, 0], expected, atol=1e-5, rtol=1e-4)


def test_resnet_pools_every_location_alone() -> None:
    clip, image = load("tiny-resnet"), noise(1, 3, 64, 96)
    visual = clip._model.visual
    visual.attnpool.positional_embedding.data.zero_()
    with torch.inference_mode():
        features = visual.forward_intermediates(image, intermediates_only=True)
        last = features["image_intermediates"][-1]
        places = last[0].flatten(1).mT[:, :, None, None]
        expected = visual.attnpool(places).mT.reshape(1, 32, 2, 3)
        keys = visual.attnpool.k_proj(last[0, :, 1, 2])
    dense = clip.dense_features(image, residual=True)
    torch.testing.assert_close(dense.values, expected, atol=1e-5, rtol=1e-4)
    assert dense.keys is not None
    torch.testing.assert_close(dense.keys[0, :, 1, 2], keys, atol=1e-5, rtol=1e-4)


def test_convnext_of_one_location_is_the_whole_model() -> None:
    clip = load("tiny-convnext")
    image = noise(2, 3, clip.stride, clip.stride)
    with torch.inference_mode():
        expected = clip._model.visual(image)
    dense = clip.dense_features(image, residual=False)
    torch.testing.assert_close(dense.values[..., 0, 0], expected, atol=1e-5, rtol=1e-4)
    assert dense.keys is None


def test_convnext_keeps_its_locations_in_place() -> None:
    clip = load("tiny-convnext")
    images = noise(2, 3, 2 * clip.stride, 3 * clip.stride)
    visual = clip._model.visual
    with torch.inference_mode():
        place = visual.trunk.forward_features(images)[1:, :, 1:, 2:]
        expected = visual.head(visual.trunk.forward_head(place))
    values = clip.dense_features(images, residual=False).values
    torch.testing.assert_close(values[1, :, 1, 2], expected[0], atol=1e-5, rtol=1e-4)


def test_other_towers_are_refused_by_name() -> None:
    clip = load_clip("tiny-coca-pool", "random", Runtime())
    with pytest.raises(
        UsageError, match=r"tiny-coca-pool.*ViT-B-16.*RN50.*convnext.*SigLIP.*PE-Core"
    ):
        _ = clip.stride


def test_sizes_must_fit_the_patches() -> None:
    with pytest.raises(ValueError, match="30x32"):
        load("tiny-vit").dense_features(noise(1, 3, 30, 32), residual=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "stride", "width"),
    [("ViT-B-16", 16, 512), ("RN50", 32, 1024), ("convnext_base_w", 32, 640)],
)
def test_full_size_towers(architecture: str, stride: int, width: int) -> None:
    clip = load_clip(architecture, "random", Runtime())
    values = clip.dense_features(noise(1, 3, 384, 512), residual=False).values
    assert clip.stride == stride
    assert values.shape == (1, width, 384 // stride, 512 // stride)
    assert values.isfinite().all()
