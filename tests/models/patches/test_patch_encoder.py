"""Patch encoders, against transformers' own outputs and a forward pass written out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    PreTrainedModel,
    ViTConfig,
    ViTMAEConfig,
    ViTMAEForPreTraining,
    ViTModel,
)

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord, Precision, Runtime
from ovbench.models.patches import encoder as module
from ovbench.models.patches.encoder import Facet, PatchEncoder, Reading, load_patch_encoder
from ovbench.models.patches.positions import Positions
from ovbench.models.weights.checkpoints import Located

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "patch_size": 8,
    "image_size": 32,
}
RECORD = CheckpointRecord("dino", "tiny", None, None)
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "vit": lambda: ViTModel(ViTConfig(**TINY, intermediate_size=64), add_pooling_layer=False),
    "dinov2": lambda: Dinov2Model(Dinov2Config(**TINY)),
    "swiglu": lambda: Dinov2Model(Dinov2Config(**TINY, use_swiglu_ffn=True)),
    "registers": lambda: Dinov2WithRegistersModel(
        Dinov2WithRegistersConfig(**TINY, num_register_tokens=2)
    ),
    "dinov3": lambda: DINOv3ViTModel(
        DINOv3ViTConfig(**TINY, intermediate_size=64, num_register_tokens=2)
    ),
}
every_model = pytest.mark.parametrize("kind", MODELS)


def build(kind: str) -> Any:
    return randomise(MODELS[kind]())


def randomise(model: Any) -> Any:
    """Weights so large that every part matters, biases and layer scales included."""
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        weight.data = torch.randn(weight.shape, generator=generator) * 0.3
    return model.eval()


def wrap(model: Any, precision: Precision = "fp32") -> PatchEncoder:
    return PatchEncoder(model, (RECORD,), Runtime(precision=precision))


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def outputs(model: Any, images: Tensor) -> Any:
    options = {"interpolate_pos_encoding": True} if isinstance(model, ViTModel) else {}
    with torch.no_grad():
        return model(images, output_hidden_states=True, **options)


def as_grid(tokens: Tensor, height: int, width: int) -> Tensor:
    patches = tokens[:, -height * width :]
    return patches.transpose(1, 2).reshape(len(patches), -1, height, width)


@every_model
def test_normalised_tokens_are_the_models_last_hidden_state(kind: str) -> None:
    model, images = build(kind), noise(2, 3, 40, 24)
    expected = outputs(model, images).last_hidden_state
    (found,) = wrap(model).read(images, Reading(norm=True))
    torch.testing.assert_close(found.patches, as_grid(expected, 5, 3))
    torch.testing.assert_close(found.class_token, expected[:, 0])


@every_model
def test_tokens_are_the_models_hidden_states(kind: str) -> None:
    model, images = build(kind), noise(1, 3, 32, 48)
    states = outputs(model, images).hidden_states[1:]  # the first one is the embeddings
    encoder = wrap(model)
    for layer, state in enumerate(states):
        torch.testing.assert_close(encoder.features(images, layer), as_grid(state, 4, 6))
    torch.testing.assert_close(encoder.features(images), as_grid(states[-1], 4, 6))


def written_out(model: Any, images: Tensor, layer: int, facet: Facet) -> Tensor:
    """The facet's patches, ``(B, 16, d)``, by matrix products over the model's weights alone."""
    weights: dict[str, Tensor] = {
        name.removeprefix("encoder."): weight for name, weight in model.state_dict().items()
    }
    vit = isinstance(model, ViTModel)
    stem = "layers" if vit else "layer"
    norms = ("layernorm_before", "layernorm_after") if vit else ("norm1", "norm2")

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def normalise(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = (
            centred / (centred.pow(2).mean(-1, keepdim=True) + model.config.layer_norm_eps).sqrt()
        )
        normalised: Tensor = scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]
        return normalised

    def scale(x: Tensor, name: str) -> Tensor:
        return x if vit else x * weights[f"{name}.lambda1"]

    squares = images.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).flatten(3)
    kernel = weights["embeddings.patch_embeddings.projection.weight"].flatten(1)
    x = squares.flatten(1, 2) @ kernel.T + weights["embeddings.patch_embeddings.projection.bias"]
    x = torch.cat([weights["embeddings.cls_token"].expand(len(x), 1, -1), x], dim=1)
    x = x + weights["embeddings.position_embeddings"]
    for index in range(layer + 1):
        block = f"{stem}.{index}"
        entered = normalise(x, f"{block}.{norms[0]}")
        facets: dict[str, Tensor] = {
            name: linear(entered, f"{block}.attention.{name[0]}_proj")
            for name in ("query", "key", "value")
        }
        q, k, v = (f.reshape(len(x), -1, 4, 8).transpose(1, 2) for f in facets.values())
        mixed = ((q @ k.transpose(2, 3)) / 8**0.5).softmax(-1) @ v
        attended = linear(mixed.transpose(1, 2).flatten(2), f"{block}.attention.o_proj")
        x = x + scale(attended, f"{block}.layer_scale1")
        hidden = functional.gelu(linear(normalise(x, f"{block}.{norms[1]}"), f"{block}.mlp.fc1"))
        x = x + scale(linear(hidden, f"{block}.mlp.fc2"), f"{block}.layer_scale2")
    return {**facets, "token": x}[facet][:, 1:]


def test_facets_of_dinov3_are_those_before_its_positions_turn_them() -> None:
    model, images = build("dinov3"), noise(2, 3, 32, 48)
    with torch.no_grad():
        state = model(images, output_hidden_states=True).hidden_states[-2]
        block = model.model.layer[-1]
        expected = block.attention.k_proj(block.norm1(state))
    found = wrap(model).features(images, facet="key")
    torch.testing.assert_close(found, as_grid(expected, 4, 6))


@pytest.mark.parametrize("kind", ["vit", "dinov2"])
@pytest.mark.parametrize("facet", ["token", "query", "key", "value"])
@pytest.mark.parametrize("layer", [0, 2])
def test_facets_are_what_the_weights_say(kind: str, facet: Facet, layer: int) -> None:
    model, images = build(kind), noise(2, 3, 32, 32)
    with torch.no_grad():
        expected = written_out(model, images, layer, facet)
    found = wrap(model).features(images, layer, facet)
    torch.testing.assert_close(found, as_grid(expected, 4, 4), atol=2e-5, rtol=1e-4)


@every_model
def test_one_pass_with_several_readings_is_several_passes(kind: str) -> None:
    encoder, images = wrap(build(kind)), noise(1, 3, 32, 40)
    readings = (Reading(-1, "key"), Reading(0), Reading(1, "value"), Reading(norm=True), Reading(2))
    for reading, found in zip(readings, encoder.read(images, *readings), strict=True):
        (alone,) = encoder.read(images, reading)
        torch.testing.assert_close(found.patches, alone.patches)
        torch.testing.assert_close(found.class_token, alone.class_token)


@every_model
def test_a_batch_is_its_images(kind: str) -> None:
    encoder, images = wrap(build(kind)), noise(3, 3, 24, 40)
    for facet in ("token", "key"):
        together = encoder.features(images, facet=facet)
        alone = torch.cat([encoder.features(image[None], facet=facet) for image in images])
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("readings", "blocks"),
    [([Reading(0, "key")], 0), ([Reading(-1, "key")], 2), ([Reading(0), Reading(1, "key")], 1),
     ([Reading(-1)], 3)],
)  # fmt: skip
def test_no_block_runs_that_no_reading_needs(readings: list[Reading], blocks: int) -> None:
    model, ran = build("dinov2"), []
    for block in model.encoder.layer:
        block.register_forward_hook(lambda *_: ran.append(1))
    wrap(model).read(noise(1, 3, 32, 32), *readings)
    assert len(ran) == blocks


@pytest.mark.parametrize(("rule", "offset"), [("exact", 0.0), ("dino", 0.1)])
@pytest.mark.parametrize("kind", ["vit", "dinov2"])
def test_positions_are_interpolated_between_patches(
    kind: str, rule: Positions, offset: float
) -> None:
    model = build(kind)
    with torch.no_grad():
        model.embeddings.patch_embeddings.projection.weight.zero_()  # positions alone are left
    native = model.embeddings.position_embeddings[0, 1:].T.reshape(1, 32, 4, 4)
    factors = ((7 + offset) / 4, (3 + offset) / 4)
    resized = functional.interpolate(native, scale_factor=factors, mode="bicubic")
    tokens = resized[0] + model.embeddings.patch_embeddings.projection.bias[:, None, None]
    block = (model.layers if kind == "vit" else model.encoder.layer)[0]
    norm = block.layernorm_before if kind == "vit" else block.norm1
    expected = block.attention.k_proj(norm(tokens.permute(1, 2, 0))).permute(2, 0, 1)
    encoder = PatchEncoder(model, (RECORD,), Runtime(), rule)
    found = encoder.features(noise(1, 3, 56, 24), 0, "key")
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=1e-4)


@every_model
def test_half_precision_computes_in_the_blocks_alone(kind: str) -> None:
    images = noise(1, 3, 40, 40)
    exact, coarse = wrap(build(kind)), wrap(build(kind), "bf16")
    assert {w.dtype for w in coarse._model.embeddings.parameters()} == {torch.float32}
    assert coarse._anatomy.last_norm.weight.dtype == torch.bfloat16
    for facet in ("token", "key"):
        found = coarse.features(images, facet=facet)
        assert found.dtype == torch.float32
        assert not torch.equal(found, exact.features(images, facet=facet))
        similarity = functional.cosine_similarity(found, exact.features(images, facet=facet))
        assert similarity.min() > 0.99


def test_the_model_is_frozen_but_a_head_on_it_can_be_trained() -> None:
    model = build("vit").train()
    encoder = wrap(model)
    head = nn.Conv2d(encoder.width, 1, 1)
    head(encoder.features(noise(1, 3, 32, 32), facet="key")).sum().backward()
    assert head.weight.grad is not None
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())


def test_random_weights_are_those_of_their_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    small = {**TINY, "num_hidden_layers": 1, "intermediate_size": 32}
    monkeypatch.setattr(transformers, "ViTConfig", lambda **own: ViTConfig(**{**small, **own}))
    state, images = torch.random.get_rng_state(), noise(1, 3, 32, 32)
    one, same, other = (
        load_patch_encoder("dino", "random", Runtime(seed=seed)).features(images)
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), state)
    with pytest.raises(UsageError, match="no dinov2 checkpoint 'random'"):
        load_patch_encoder("dinov2", "random", Runtime())


def test_sizes_come_from_the_model() -> None:
    encoder = wrap(build("vit"))
    assert (encoder.patch_size, encoder.width, encoder.layers) == (8, 32, 3)
    assert encoder.checkpoints == (RECORD,)
    assert encoder.device == torch.device("cpu")


def test_misuse_is_told() -> None:
    encoder = wrap(build("vit"))
    with pytest.raises(ValueError, match="36x32 is no multiple"):
        encoder.features(noise(1, 3, 36, 32))
    for layer in (3, -4):
        with pytest.raises(ValueError, match=f"layer {layer} is not one of -3..2"):
            encoder.features(noise(1, 3, 32, 32), layer)
    with pytest.raises(ValueError, match="for tokens, not for a key"):
        encoder.features(noise(1, 3, 32, 32), facet="key", norm=True)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder which is where every checkpoint is found."""
    monkeypatch.setattr(module, "locate", lambda *_: Located(tmp_path, (RECORD,)))
    return tmp_path


@every_model
def test_loads_what_transformers_saved(kind: str, at: Path) -> None:
    model, images = build(kind), noise(1, 3, 40, 32)
    model.save_pretrained(at)
    key = "layer.0.attention.attention.key.weight"
    assert any(  # the names in the files on the hub
        name.removeprefix("encoder.") in (key, "layer.0.attention.k_proj.weight")
        for name in load_file(at / "model.safetensors")
    )
    encoder = load_patch_encoder("dino", "tiny", Runtime())
    for reading in (Reading(), Reading(1, "key")):
        (found,), (expected,) = (e.read(images, reading) for e in (encoder, wrap(model)))
        torch.testing.assert_close(found.patches, expected.patches)
    assert encoder.checkpoints == (RECORD,)


def test_weights_in_half_precision_still_compute_in_float32(at: Path) -> None:
    build("dinov2").half().save_pretrained(at)
    encoder = load_patch_encoder("dinov2", "tiny", Runtime())
    assert {weight.dtype for weight in encoder._model.parameters()} == {torch.float32}


def test_maes_encoder_without_masks(at: Path) -> None:
    config = ViTMAEConfig(
        **TINY, intermediate_size=64, mask_ratio=0.0, decoder_hidden_size=16,
        decoder_num_hidden_layers=1, decoder_num_attention_heads=2, decoder_intermediate_size=16,
    )  # fmt: skip
    model, images = randomise(ViTMAEForPreTraining(config)), noise(2, 3, 24, 40)
    model.save_pretrained(at)
    in_order = torch.arange(15.0).expand(2, -1)  # the noise by which MAE shuffles
    with torch.no_grad():
        expected = model.vit(images, noise=in_order, interpolate_pos_encoding=True)
    found = load_patch_encoder("dino", "tiny", Runtime()).features(images, norm=True)
    torch.testing.assert_close(found, as_grid(expected.last_hidden_state, 3, 5))


def test_a_folder_without_a_model(at: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be loaded: .*config\.json"):
        load_patch_encoder("dino", "tiny", Runtime())


def test_another_kind_of_model(at: Path) -> None:
    (at / "config.json").write_text(json.dumps({"model_type": "swin"}))
    with pytest.raises(UsageError, match="model type 'swin', not vit or vit_mae or deit or dinov2"):
        load_patch_encoder("dino", "tiny", Runtime())


def test_damaged_weights(at: Path) -> None:
    build("vit").save_pretrained(at)
    weights = at / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="cannot be loaded"):
        load_patch_encoder("dino", "tiny", Runtime())
    weights.unlink()
    with pytest.raises(UsageError, match="cannot be loaded"):
        load_patch_encoder("dino", "tiny", Runtime())


def test_pickled_weights(at: Path) -> None:
    model, images = build("vit"), noise(1, 3, 32, 32)
    model.save_pretrained(at)
    torch.save(load_file(at / "model.safetensors"), at / "pytorch_model.bin")
    (at / "model.safetensors").unlink()
    encoder = load_patch_encoder("dino", "tiny", Runtime())
    torch.testing.assert_close(encoder.features(images), wrap(model).features(images))
    for content in (b"", b"<html>not found</html>"):
        (at / "pytorch_model.bin").write_bytes(content)
        with pytest.raises(UsageError, match="its weights are damaged"):
            load_patch_encoder("dino", "tiny", Runtime())


def test_missing_weights(at: Path) -> None:
    build("vit").save_pretrained(at)
    state = load_file(at / "model.safetensors")
    del state["embeddings.position_embeddings"]
    save_file(state, at / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match=r"has no weights for embeddings\.position_embeddings"):
        load_patch_encoder("dino", "tiny", Runtime())


BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "grid"),
    [
        (lambda: ViTModel(ViTConfig(**BASE, patch_size=8), add_pooling_layer=False), 28),
        (lambda: Dinov2Model(Dinov2Config(**BASE, patch_size=14, image_size=518)), 16),
    ],
    ids=["dino_vitb8", "dinov2_base"],
)
def test_real_sizes(model: Callable[[], PreTrainedModel], grid: int) -> None:
    built, images = model().eval(), noise(1, 3, 224, 224)
    expected = outputs(built, images)
    encoder = wrap(built)
    tokens, normed, keys = encoder.read(images, Reading(), Reading(norm=True), Reading(-1, "key"))
    assert keys.patches.shape == (1, 768, grid, grid)
    for found, own in ((tokens, expected.hidden_states[-1]), (normed, expected.last_hidden_state)):
        torch.testing.assert_close(found.patches, as_grid(own, grid, grid), atol=1e-4, rtol=1e-4)


@every_model
@torch.no_grad()
def test_all_tokens_are_those_of_transformers(kind: str) -> None:
    model = build(kind)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    expected = model(images).last_hidden_state
    found = wrap(model).tokens(images)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="no multiple of the patch"):
        wrap(model).tokens(images[..., :30])
