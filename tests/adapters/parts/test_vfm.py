"""Vision foundation models on windows that were normalised for CLIP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_diffusion
import torch
from segment_anything import SamPredictor
from torch import Tensor
from torch.nn import functional
from transformers import (
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    PreTrainedModel,
    ViTConfig,
    ViTModel,
)

from ovbench.adapters.parts import vfm as module
from ovbench.adapters.parts.vfm import WEIGHTS, load_vfm, of_diffusion, of_encoder, of_sam
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.diffusion.model import load_diffusion
from ovbench.models.patches.encoder import PatchEncoder
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD
from ovbench.models.sam.model import Sam, SamConfig, build_sam
from ovbench.models.weights.catalogue import look_up
from ovbench.models.weights.packaged import roles

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "patch_size": 8,
    "image_size": 32,
}
RECORDS = (CheckpointRecord("dino", "tiny", None, None),)
MODELS: dict[str, PreTrainedModel] = {
    "dino": ViTModel(ViTConfig(**TINY, intermediate_size=64), add_pooling_layer=False),
    "registers": Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**TINY)),
    "dinov3": DINOv3ViTModel(DINOv3ViTConfig(**TINY, intermediate_size=64, num_register_tokens=4)),
}


def normalised(pixels: Tensor, mean: Any, std: Any) -> Tensor:
    return (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def pixels(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", MODELS)
def test_tokens_are_the_models_own_of_pixels_as_it_was_trained_on(kind: str) -> None:
    model, seen = MODELS[kind].eval(), pixels(2, 3, 27, 46)
    images = normalised(seen[..., :24, :40], IMAGENET_MEAN, IMAGENET_STD)
    options = {"interpolate_pos_encoding": True} if kind == "dino" else {}
    with torch.no_grad():
        expected = model(images, **options).last_hidden_state[:, -15:]
    read = of_encoder(PatchEncoder(model, RECORDS, Runtime()), "tokens", MEAN, STD)
    found = read.features(normalised(seen, MEAN, STD))
    assert found.shape == (2, 32, 3, 5)
    torch.testing.assert_close(found.flatten(2).mT, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", MODELS)
def test_queries_and_keys_are_added_with_their_heads_side_by_side(kind: str) -> None:
    model, seen, caught = MODELS[kind].eval(), pixels(1, 3, 32, 32), []
    block: Any = (model.layers if kind == "dino" else model.get_submodule(
        "model.layer" if kind == "dinov3" else "encoder.layer"))[-1]  # fmt: skip
    hooks = [
        layer.register_forward_hook(lambda _, __, out: caught.append(out[:, -16:]))
        for layer in (block.attention.q_proj, block.attention.k_proj)
    ]
    with torch.no_grad():
        model(normalised(seen, IMAGENET_MEAN, IMAGENET_STD))
    for hook in hooks:
        hook.remove()
    read = of_encoder(PatchEncoder(model, RECORDS, Runtime()), "query_key", MEAN, STD)
    found = read.features(normalised(seen, MEAN, STD)).flatten(2).mT
    torch.testing.assert_close(found, caught[0] + caught[1], atol=1e-5, rtol=1e-5)


def test_sam_is_read_behind_its_neck_as_its_predictor_embeds_a_square_picture() -> None:
    torch.manual_seed(0)
    model = build_sam(
        SamConfig(32, 2, 2, (1,), encoder_window_size=3, image_size=64, patch_size=8,
                  prompt_embed_dim=32, decoder_num_heads=2, decoder_mlp_dim=32)
    )  # fmt: skip
    picture = (pixels(64, 64, 3) * 255).byte().numpy()
    predictor = SamPredictor(model)
    predictor.set_image(np.ascontiguousarray(picture))
    read = of_sam(Sam(model, RECORDS, Runtime()), MEAN, STD)
    windows = normalised(torch.from_numpy(picture).permute(2, 0, 1)[None] / 255, MEAN, STD)
    found = read.features(torch.cat([windows, windows.flip(3)]))
    assert found.shape == (2, 32, 8, 8)
    torch.testing.assert_close(found[:1], predictor.features, atol=1e-5, rtol=1e-5)
    # A window that is not square covers the whole grid as well.
    wide = windows.repeat_interleave(2, dim=3)
    torch.testing.assert_close(read.features(wide), found[:1], atol=1e-5, rtol=1e-5)


def test_stable_diffusion_is_read_in_its_ninth_block_without_noise_and_words() -> None:
    """Of clean latents of a window twice as large, before they are enlarged for the last level."""
    model = load_diffusion("stable_diffusion_v1_5", Runtime(checkpoints="toy"))
    seen, parts, kept = pixels(2, 3, 24, 31), model._parts, []
    larger = functional.interpolate(seen, (48, 64), mode="bilinear") * 2 - 1  # whole latents
    ninth = parts.unet.up_blocks[2].attentions[2]
    hook = ninth.register_forward_hook(lambda _, __, out: kept.append(out[0]))
    length = parts.text_encoder.config.max_position_embeddings
    words = parts.tokenizer("", padding="max_length", max_length=length, return_tensors="pt")
    with torch.no_grad():
        latents = parts.vae.encode(larger).latent_dist.mean * parts.vae.config.scaling_factor
        text = parts.text_encoder(words.input_ids).last_hidden_state
        parts.unet(latents, 0, text.expand(2, -1, -1))
    hook.remove()
    found = of_diffusion(model, MEAN, STD).features(normalised(seen, MEAN, STD))
    assert found.shape[-2:] == (6, 8)
    torch.testing.assert_close(found, kept[0], atol=1e-4, rtol=1e-4)


def test_a_u_net_with_fewer_blocks_is_told_in_a_line(tmp_path: Path) -> None:
    small = tiny_diffusion.wrap(tiny_diffusion.build(tmp_path))
    with pytest.raises(UsageError, match=r"tiny: block 9 of the U-Net .* has 6 on its way up"):
        of_diffusion(small, MEAN, STD)


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_known_one_is_in_the_catalogue_and_has_a_miniature(name: str) -> None:
    assert look_up(*WEIGHTS[name].split("/"))
    if (role := WEIGHTS[name].partition("/")[0]) not in roles():
        with pytest.raises(UsageError, match=f"no miniature of {role}"):
            load_vfm(name, Runtime(checkpoints="toy"), mean=MEAN, std=STD)
        return
    read = load_vfm(name, Runtime(checkpoints="toy"), mean=MEAN, std=STD)
    found = read.features(normalised(pixels(1, 3, 40, 48), MEAN, STD))
    assert found.isfinite().all()
    assert {"/".join(one.name.split("/")[:2]) for one in read.checkpoints} == {f"toyworld/{role}"}


def test_positions_are_as_each_ones_authors_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    encoder = PatchEncoder(MODELS["dino"], RECORDS, Runtime())
    monkeypatch.setattr(module, "load_patch_encoder", lambda *a: asked.append(a) or encoder)
    for name in ("dino_vitb8", "mae_vit_base", "dinov2_registers_base", "owner/name@1"):
        load_vfm(name, Runtime(), mean=MEAN, std=STD)
    assert [(a[0], a[1], a[3]) for a in asked] == [
        ("dino", "dino_vitb8", "dino"),
        ("dino", "mae_vit_base", "exact"),
        ("dinov2", "dinov2_registers_base", "antialias"),
        ("dino", "owner/name@1", "dino"),
    ]


@pytest.mark.parametrize(
    ("name", "reading", "said"),
    [
        ("dino_vitb9", "tokens", "no vision foundation model .dino_vitb9.; did you mean .dino"),
        ("clip", "tokens", r"there are: dino_vits16, .*, or a hub id owner/name"),
        ("sam_vit_b", "query_key", r"sam_vit_b is read behind its neck"),
        ("stable_diffusion_v1_5", "query_key", "is read behind block 9 of its U-Net"),
    ],
)  # fmt: skip
def test_misuse_is_told_in_a_line(name: str, reading: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_vfm(name, Runtime(checkpoints="toy"), reading, mean=MEAN, std=STD)
