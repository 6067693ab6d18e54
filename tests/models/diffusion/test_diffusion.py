"""Stable Diffusion: pictures against diffusers' own pipeline, features against full passes."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from tiny_diffusion import (
    RECORD,
    SCHEDULER,
    SIDE,
    attention_layers,
    build,
    pipeline,
    wrap,
)
from torch import Tensor, nn
from torch.nn import functional

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.diffusion import model as diffusion
from ovbench.models.diffusion.folder import Parts, load_parts
from ovbench.models.diffusion.model import Diffusion, Request, load_diffusion
from ovbench.models.diffusion.sampling import Sampling, Solver, build_solver
from ovbench.models.weights.checkpoints import Located

REQUESTS = tuple(
    Request(f"a photo of a {name}", seed, negative="dog")
    for seed, name in enumerate(("cat", "dog", "light"))
)
CLASSES: dict[Solver, tuple[str, dict[str, Any]]] = {
    "dpm-solver++": ("DPMSolverMultistepScheduler", {}),
    "dpm-solver++0.14": ("DPMSolverMultistepScheduler", {"final_sigmas_type": "sigma_min"}),
    "ddim": ("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
}
READ = (
    "up_blocks.1.attentions.0",
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q",
    "mid_block.resnets.1",
    "up_blocks.0.resnets.1",
)


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return build(tmp_path)


def pictures(count: int = 2, height: int = 2 * SIDE, width: int = 2 * SIDE) -> Tensor:
    noise = torch.rand((count, 3, height, width), generator=torch.Generator().manual_seed(9))
    return noise * 2 - 1


@pytest.mark.parametrize("solver", CLASSES)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_pictures_are_those_of_the_pipeline(
    solver: Solver, prediction: str, tmp_path: Path
) -> None:
    parts = build(tmp_path, prediction)
    keys = ("beta_start", "beta_end", "beta_schedule", "steps_offset")
    options = {key: SCHEDULER[key] for key in keys} | CLASSES[solver][1]
    scheduler = getattr(diffusers, CLASSES[solver][0])(**options, prediction_type=prediction)
    expected = pipeline(parts, scheduler)(
        [request.prompt for request in REQUESTS],
        negative_prompt=["dog"] * 3,
        num_inference_steps=5,
        guidance_scale=4.0,
        generator=[torch.Generator().manual_seed(request.seed) for request in REQUESTS],
        output_type="np",
    ).images
    found = wrap(parts).generate(REQUESTS, Sampling(solver, 5, 4.0)).images
    assert found.dtype == np.uint8
    assert found.shape == (3, 2 * SIDE, 2 * SIDE, 3)
    assert found.std() > 5
    assert np.abs(found - expected * 255).max() < 1.01


def test_a_picture_does_not_depend_on_its_batch(parts: Parts) -> None:
    model, sampling = wrap(parts), Sampling("ddim", 3)
    together = model.generate(REQUESTS, sampling).images.astype(int)
    in_pairs = model.generate(REQUESTS[::-1], sampling, batch_size=2).images[::-1]
    assert np.abs(together - in_pairs).max() <= 1
    assert np.abs(together[0] - together[1]).max() > 10


def test_noise_is_drawn_from_one_seed_picture_after_picture(parts: Parts) -> None:
    found = wrap(parts)._noise([Request("a cat", 5, draw=draw) for draw in range(3)], (SIDE, SIDE))
    one_by_one = torch.Generator().manual_seed(5)
    first = torch.randn(2, 4, SIDE, SIDE, generator=one_by_one)  # of a batch of two
    second = torch.randn(1, 4, SIDE, SIDE, generator=one_by_one)
    assert torch.equal(found, torch.cat([first, second]))


def test_levels_are_rounded_or_truncated(parts: Parts) -> None:
    model = wrap(parts)
    rounded, truncated = (
        model.generate(REQUESTS, Sampling("ddim", 1, levels=levels)).images.astype(int)
        for levels in ("rounded", "truncated")
    )
    lost = rounded - truncated
    assert set(np.unique(lost)) == {0, 1}
    assert 0.3 < lost.mean() < 0.7


def test_without_guidance_there_is_one_forward_and_no_negative(parts: Parts) -> None:
    batches: list[int] = []
    parts.unet.register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))
    model = wrap(parts)
    other = [Request(request.prompt, request.seed) for request in REQUESTS]
    plain = model.generate(REQUESTS, Sampling("ddim", 1, guidance=1.0)).images
    assert (plain == model.generate(other, Sampling("ddim", 1, guidance=1.0)).images).all()
    assert batches == [3, 3]
    guided = model.generate(REQUESTS, Sampling("ddim", 1, guidance=3.0)).images
    assert batches[2:] == [6]
    assert (guided != model.generate(other, Sampling("ddim", 1, guidance=3.0)).images).any()


def test_progress_is_told_step_by_step(parts: Parts) -> None:
    told: list[tuple[int, int]] = []
    wrap(parts).generate(
        REQUESTS, Sampling("ddim", 2), batch_size=2, progress=lambda *p: told.append(p)
    )
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_wanted_sizes(parts: Parts) -> None:
    model = wrap(parts)
    assert (model.cell, model.image_size) == (2, 2 * SIDE)
    images = model.generate(REQUESTS[:1], Sampling("ddim", 1, height=48, width=40)).images
    assert images.shape == (1, 48, 40, 3)
    with pytest.raises(ValueError, match="33x32 is no multiple of 2 pixels"):
        model.generate(REQUESTS, Sampling("ddim", 1, height=33))


def test_names_for_all_or_none(parts: Parts) -> None:
    mixed = [Request("a cat", 0, name="cat"), Request("a dog", 1)]
    with pytest.raises(ValueError, match="shorter"):
        wrap(parts).generate(mixed, Sampling("ddim", 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"solver": "euler"}, "no solver 'euler'; there are: dpm-solver"), ({"steps": 0}, "0 steps")],
)
def test_impossible_sampling(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**options)


def test_solvers_never_clip_latents_nor_take_costly_first_steps() -> None:
    assert not build_solver("ddim", {}).config.clip_sample
    assert build_solver("pndm", {}).config.skip_prk_steps


def full_pass(parts: Parts, images: Tensor, timestep: int, seed: int) -> dict[str, Tensor]:
    """All wanted outputs of a whole forward pass; the latents are the mean."""
    kept: dict[str, Tensor] = {}
    handles = [
        parts.unet.get_submodule(name).register_forward_hook(
            lambda _m, _i, output, name=name: kept.update({name: output})
        )
        for name in READ
    ]
    scheduler = diffusers.DDPMScheduler.from_config(parts.scheduler)
    with torch.no_grad():
        latents = parts.vae.encode(images).latent_dist.mode() * parts.vae.config.scaling_factor
        noise = torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(seed))
        noisy = scheduler.add_noise(latents, noise.expand_as(latents), torch.tensor([timestep]))
        ids = parts.tokenizer("", padding="max_length", return_tensors="pt").input_ids
        states = parts.text_encoder(ids).last_hidden_state
        parts.unet(noisy, timestep, states.expand(len(images), -1, -1))
    for handle in handles:
        handle.remove()
    return {name: out[0] if isinstance(out, tuple) else out for name, out in kept.items()}


def test_features_are_those_of_a_full_forward_pass(parts: Parts) -> None:
    images = pictures(2, 32, 48)
    found = wrap(parts).features(images, READ, timestep=100, seed=4)
    expected = full_pass(parts, images, timestep=100, seed=4)
    assert list(found) == list(READ)
    queries = READ[1]
    expected[queries] = torch.stack([q.T.reshape(-1, 16, 24) for q in expected[queries]])
    for name in READ:
        torch.testing.assert_close(found[name], expected[name], atol=3e-4, rtol=1e-3)
    assert found["up_blocks.0.resnets.1"].shape == (2, 16, 4, 6)


def test_the_forward_pass_ends_behind_the_last_module(parts: Parts) -> None:
    model, ran = wrap(parts), []
    for name, module in parts.unet.named_modules():
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
    model.features(pictures(), ["mid_block.resnets.0"], timestep=0, seed=0)
    assert ran[-1] == "mid_block.resnets.0"
    hooks = len(parts.unet.mid_block.resnets[0]._forward_hooks)
    assert hooks == 1  # only the test's own is left


def test_a_forward_pass_that_was_cut_short_leaves_no_trace(parts: Parts) -> None:
    model, sampling = wrap(parts), Sampling("ddim", 1)
    before = model.generate(REQUESTS, sampling).images
    model.features(pictures(), READ, timestep=0, seed=0)
    assert (model.generate(REQUESTS, sampling).images == before).all()


def test_features_do_not_depend_on_the_batch_and_repeat(parts: Parts) -> None:
    model, images = wrap(parts), pictures(3)
    for sample_latents in (False, True):
        options: dict[str, Any] = {"timestep": 50, "seed": 3, "sample_latents": sample_latents}
        together = model.features(images, READ, **options)
        alone = [model.features(image[None], READ, **options) for image in images]
        for name in READ:
            joined = torch.cat([one[name] for one in alone])
            torch.testing.assert_close(together[name], joined, atol=3e-4, rtol=1e-3)


def test_noise_prompt_and_sampling_change_features(parts: Parts) -> None:
    model = wrap(parts)
    base: dict[str, Any] = {"timestep": 50, "seed": 3}
    changes: list[dict[str, Any]] = [
        {}, {"timestep": 60}, {"seed": 4}, {"prompt": "a cat"}, {"sample_latents": True}
    ]  # fmt: skip
    changes += [{"sample_latents": True, "repeat_noise": True}]
    found = [model.features(pictures(), READ[:1], **base | c)[READ[0]] for c in changes]
    assert all((one - found[0]).abs().max() > 1e-4 for one in found[1:])
    assert all((one - two).abs().max() > 1e-4 for one, two in pairwise(found))


def test_without_a_seed_there_is_no_noise(parts: Parts) -> None:
    """Latents go in as they are, which the noise of even the first timestep would change."""
    model, given = wrap(parts), []
    hook = parts.unet.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    for seed in (None, 0):
        model.features(pictures(), READ[:1], timestep=0, seed=seed)
    hook.remove()
    clean = parts.vae.encode(pictures()).latent_dist.mean * parts.vae.config.scaling_factor
    torch.testing.assert_close(given[0], clean, atol=1e-5, rtol=1e-5)
    assert (given[1] - clean).abs().max() > 1e-3
    with pytest.raises(ValueError, match="sample_latents needs a seed"):
        model.features(pictures(), READ[:1], timestep=0, seed=None, sample_latents=True)


@pytest.mark.parametrize(
    ("modules", "timestep", "message"),
    [
        (["up_blocks.9", "mid_block"], 0, "no module up_blocks.9"),
        (["mid_block"], 1000, r"timestep 1000 is not one of 0..999"),
        (["down_blocks.0.attentions"], 0, "not run: down_blocks.0.attentions"),
    ],
)
def test_features_that_cannot_be(
    modules: list[str], timestep: int, message: str, parts: Parts
) -> None:
    with pytest.raises(ValueError, match=message):
        wrap(parts).features(pictures(), modules, timestep=timestep, seed=0)


def test_half_precision_computes_in_unet_and_image_encoder_alone(tmp_path: Path) -> None:
    coarse_parts = build(tmp_path)
    exact, coarse = wrap(build(tmp_path)), wrap(coarse_parts, "bf16")
    dtypes = {
        "unet": coarse_parts.unet.dtype,
        "text": coarse_parts.text_encoder.dtype,
        "encoder": next(coarse_parts.vae.encoder.parameters()).dtype,
        "decoder": next(coarse_parts.vae.decoder.parameters()).dtype,
    }
    half, full = torch.bfloat16, torch.float32
    assert dtypes == {"unet": half, "text": full, "encoder": half, "decoder": full}
    for name in READ:
        a, b = (m.features(pictures(), [name], timestep=9, seed=0)[name] for m in (exact, coarse))
        assert b.dtype == torch.float32
        assert functional.cosine_similarity(a.flatten(1), b.flatten(1)).min() > 0.99
    images = [m.generate(REQUESTS, Sampling("ddim", 3)).images.astype(int) for m in (exact, coarse)]
    assert np.abs(images[0] - images[1]).mean() < 3


def test_the_models_are_frozen_and_recorded(parts: Parts) -> None:
    parts.unet.train()
    model = wrap(parts)
    assert model.checkpoints == (RECORD,)
    assert model.mean == model.std == (0.5, 0.5, 0.5)
    for part in (parts.unet, parts.vae, parts.text_encoder):
        assert not part.training
        assert not any(weight.requires_grad for weight in part.parameters())


def saved(folder: Path) -> Path:
    """A folder as ``StableDiffusionPipeline`` saves it, in half precision."""
    parts = build(folder / "tokenizer-source")
    scheduler = build_solver("pndm", parts.scheduler)
    pipeline(parts, scheduler).to(dtype=torch.float16).save_pretrained(folder / "saved")
    return folder / "saved"


def test_a_saved_pipeline_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, runtime, asked = saved(tmp_path), Runtime(), []

    def locate(*arguments: object) -> Located:
        asked.append(arguments)
        return Located(folder, (RECORD,))

    monkeypatch.setattr(diffusion, "locate", locate)
    model = load_diffusion("stable_diffusion_v1_4", runtime)
    assert asked == [("stable_diffusion", "stable_diffusion_v1_4", runtime)]
    assert model.checkpoints == (RECORD,)
    halves = build(tmp_path / "again")
    for part in (halves.vae, halves.text_encoder, halves.unet):
        nn.Module.half(part).float()
    found, expected = (m.generate(REQUESTS, Sampling("ddim", 2)) for m in (model, wrap(halves)))
    assert np.abs(found.images.astype(int) - expected.images).max() <= 1


def test_damaged_folders(tmp_path: Path) -> None:
    whole = saved(tmp_path)
    damages = {
        "unet/config.json": "unet",
        "unet/diffusion_pytorch_model.safetensors": "cannot be loaded",
        "text_encoder/model.safetensors": "cannot be loaded",
        "scheduler/scheduler_config.json": "scheduler_config.json",
    }
    for number, (name, message) in enumerate(damages.items()):
        for content in (None, b"\x03broken"):
            folder = tmp_path / f"{number}-{content is None}"
            shutil.copytree(whole, folder)
            if content is None:
                (folder / name).unlink()
            else:
                (folder / name).write_bytes(content)
            with pytest.raises(UsageError, match="cannot be loaded") as caught:
                load_parts(folder)
            assert message in str(caught.value)
            assert "\n" not in str(caught.value)


def test_weights_that_are_missing_are_not_made_up(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = saved(tmp_path)
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    del weights["conv_out.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(UsageError, match=r"unet has no weights for conv_out\.weight"):
        load_parts(folder)


REAL_UNET: dict[str, Any] = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
REAL_VAE: dict[str, Any] = {
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "latent_channels": 4,
    "scaling_factor": 0.18215,
}


def real_parts(folder: Path) -> Parts:
    """Stable Diffusion 1.5's own sizes, in bf16: 2.1 GB. Its words alone are others."""
    from transformers import CLIPTextConfig, CLIPTextModel

    words = build(folder).tokenizer
    text = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        max_position_embeddings=77,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
    )
    with torch.device("meta"):  # the random initialisation would take longer than the test
        unet = diffusers.UNet2DConditionModel(**REAL_UNET)
    unet = nn.Module.to_empty(unet, device="cpu")
    generator = torch.Generator().manual_seed(0)
    for name, weight in unet.named_parameters():
        spread = 0.02 if name.endswith("weight") else 0.0
        weight.data.normal_(0, spread, generator=generator)
        if "norm" in name and name.endswith("weight"):
            weight.data.fill_(1)
    scheduler = {**SCHEDULER, "num_train_timesteps": 1000, "skip_prk_steps": True}
    return Parts(diffusers.AutoencoderKL(**REAL_VAE), CLIPTextModel(text), words, unet, scheduler)


@pytest.mark.slow
def test_the_real_size(tmp_path: Path) -> None:
    """stable-diffusion-v1-5, on 256-pixel pictures to be quick; every layer is built."""
    parts = real_parts(tmp_path)
    model = Diffusion(parts, (RECORD,), Runtime())
    assert (model.cell, model.image_size) == (8, 512)
    assert len(attention_layers(parts.unet)) == 16
    request = Request("a photo of a traffic light", 0, name="traffic light")
    sampling = Sampling("dpm-solver++", steps=1, guidance=8.0, height=256, width=256)
    made = model.generate([request], sampling)
    assert made.images.shape == (1, 256, 256, 3)
    assert made.attribution is not None
    assert made.attribution.shape == (1, 32, 32)
    assert torch.isfinite(made.attribution).all()
    # Softmax over 77 tokens: a token's mean share is about that.
    assert 0.2 / 77 < made.attribution.mean() < 5 / 77
    queries = [
        f"{block}.transformer_blocks.0.attn2.to_q"
        for block in ("down_blocks.0.attentions.0", "mid_block.attentions.0",
                      "up_blocks.3.attentions.2")
    ]  # fmt: skip
    blocks = ["up_blocks.0.resnets.1", "up_blocks.1.attentions.1", "up_blocks.2.attentions.1"]
    found = model.features(pictures(1, 256, 256), [*queries, *blocks], timestep=100, seed=42)
    shapes = [tuple(one.shape[1:]) for one in found.values()]
    assert shapes == [
        (320, 32, 32), (1280, 4, 4), (320, 32, 32), (1280, 4, 4), (1280, 8, 8), (640, 16, 16)
    ]  # fmt: skip
