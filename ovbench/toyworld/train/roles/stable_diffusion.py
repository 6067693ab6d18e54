"""The miniature Stable Diffusion: the parts of ``StableDiffusionPipeline``, built small.

First the autoencoder, then text encoder and U-Net together on its latents: mostly on crops,
which cost less than half as much and show fewer things, then mostly on whole scenes.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from ovbench.toyworld.captions import caption, vocabulary_texts
from ovbench.toyworld.train.running.card import Card, write_card
from ovbench.toyworld.train.running.device import plain_attention
from ovbench.toyworld.train.running.loop import fit, forget
from ovbench.toyworld.train.running.optimizer import adamw
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.running.weights import millions
from ovbench.toyworld.train.teaching import autoencoder
from ovbench.toyworld.train.teaching.autoencoder import (
    DOWN,
    LatentBank,
    build_autoencoder,
    reconstruction_loss,
)
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.train.teaching.binding import KeepCrossAttention, stray_mass
from ovbench.toyworld.train.teaching.subwords import write_clip_tokenizer
from ovbench.toyworld.train.teaching.views import presence
from ovbench.toyworld.world import NAMES, SIZE, STUFF, THINGS

STEPS = 6000

STAGES: tuple[dict[str, Any], ...] = (
    {"share": 0.45, "learning_rate": 1e-3, "crop_share": 0.9},
    {"share": 0.3, "learning_rate": 5e-4, "crop_share": 0.2},
)
"""Of text encoder and U-Net; the autoencoder takes the first quarter of the steps."""

RECIPE: dict[str, Any] = {
    "scenes": 16_000,  # of the train split
    "crop_side": 64,
    "crop_batch": 32,
    "whole_batch": 24,
    "single_share": 0.35,  # of the pictures come from scenes with one thing
    "stuff_named": 0.5,  # of the captions of pictures with things name the stuff, too
    "polite_share": 0.15,  # of the captions say "a good picture of"
    "caption_dropout": 0.1,  # no caption, or random words that are no class
    "middle_share": 0.5,  # of the timesteps are from the middle
    "middle": [350, 950],
    "things_weight": 4.0,  # of the error at and around things; elsewhere 1
    "binding": 0.03,  # weight of the attention loss, times the signal's share of the latents
    "averaging": 0.999,  # exponential, of the weights that are saved
    "betas": [0.9, 0.99],
    "weight_decay": 1e-2,
    "warmup": 100,
    "schedule": "cosine",  # in each stage, with a fresh optimizer
    "gradient_clip": 1.0,
}

SUPERVISION = (
    "Supervision: pictures and captions that name every thing in the picture and, half of the "
    "time, its ground. Label maps are used twice in training: errors at things weigh four times "
    "as much, and a small auxiliary loss draws the cross-attention of a class's word to where "
    "the class is. So the attribution maps of this miniature are partly taught, unlike those of "
    "the real model."
)

LENGTH = 24
POLITE = "a good picture of a {}"

TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": LENGTH,
    "projection_dim": 64,
}

UNET: dict[str, Any] = {
    "sample_size": SIZE // DOWN,
    # The blocks, layers and attentions of Stable Diffusion 1.x, so that a layer has the same
    # name here and there.
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "layers_per_block": 2,
    "block_out_channels": [32, 64, 96, 96],
    "cross_attention_dim": TEXT["hidden_size"],
    "attention_head_dim": [2, 4, 4, 4],  # diffusers' name for the number of heads
    # Self-attention over all 576 latents would take half of the time.
    "only_cross_attention": [True, False, False, False],
    "norm_num_groups": 8,
}

SCHEDULER: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}

EVALUATED = 64
"""Validation scenes that the autoencoder is measured on."""


def train(options: Options) -> None:
    """Train, export to ``options.output`` for ``StableDiffusionPipeline``, write the card."""
    texts = [*vocabulary_texts(), POLITE, *NAMES]
    write_clip_tokenizer(texts, options.output / "tokenizer", LENGTH)
    tokenizer = _tokenizer(options.output)
    torch.manual_seed(options.seed)
    vae, bank = build_autoencoder().to(options.device), SceneBank(RECIPE["scenes"])
    painter = Painter(build_text_encoder(tokenizer), build_unet()).to(options.device)
    later = round(options.steps * sum(stage["share"] for stage in STAGES))
    part = replace(options, steps=options.steps - later)
    seconds, first = _fit_autoencoder(vae, bank, part), part.steps
    latents = LatentBank(vae.eval(), bank, options.device)
    for number, stage in enumerate(STAGES, start=2):
        part = replace(options, steps=round(options.steps * stage["share"]))
        lesson = Lesson(painter, tokenizer, Material(bank, latents), stage, part, first)
        optimizer = adamw(painter.parameters(), RECIPE, stage["learning_rate"], fused=True)
        with plain_attention(options.device):
            seconds += fit(painter, optimizer, lesson.loss, part, RECIPE["warmup"], number)
        first += part.steps
    vae.register_to_config(scaling_factor=latents.scaling_factor)
    export(vae, painter, tokenizer, options.output)
    write_card(_card(vae, painter, options.output), options, seconds)
    forget(options)


def _fit_autoencoder(vae: Any, bank: SceneBank, options: Options) -> float:
    optimizer = torch.optim.AdamW(vae.parameters(), lr=autoencoder.RECIPE["learning_rate"])
    return fit(vae, optimizer, partial(reconstruction_loss, vae, bank, options), options)


def build_text_encoder(tokenizer: Any) -> Any:
    """An untrained ``CLIPTextModel`` for the tokenizer's vocabulary."""
    from transformers import CLIPTextConfig, CLIPTextModel

    special = (f"{name}_token_id" for name in ("bos", "eos", "pad"))
    ids = {name: getattr(tokenizer, name) for name in special}
    return CLIPTextModel(CLIPTextConfig(**TEXT, vocab_size=len(tokenizer), **ids))


def build_unet() -> Any:
    """An untrained ``UNet2DConditionModel``."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(**UNET)


def _tokenizer(folder: Path) -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder / "tokenizer")


class Painter(nn.Module):
    """Text encoder and U-Net, with the running average of their weights."""

    def __init__(self, text_encoder: Any, unet: Any) -> None:
        super().__init__()
        self.text_encoder, self.unet = text_encoder, unet
        self.average = copy.deepcopy(nn.ModuleList([text_encoder, unet])).requires_grad_(False)
        self.cross_attention = KeepCrossAttention()
        for name, module in unet.named_modules():
            if name.endswith("attn2"):
                module.set_processor(self.cross_attention)

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """Move the average a little towards the weights."""
        live = [*self.text_encoder.parameters(), *self.unet.parameters()]
        torch._foreach_lerp_(list(self.average.parameters()), live, 1 - decay)


@dataclass(frozen=True, slots=True)
class Material:
    """The scenes as pictures and as latents."""

    bank: SceneBank
    latents: LatentBank

    def singles(self) -> npt.NDArray[np.int64]:
        """Scenes with exactly one kind of thing."""
        _, labels = self.bank.take(np.arange(len(self.bank)))
        return np.flatnonzero(presence(labels)[:, : len(THINGS)].sum(axis=1) == 1)


class Lesson:
    """The loss of one training step, which its number determines."""

    def __init__(
        self,
        painter: Painter,
        tokenizer: Any,
        material: Material,
        stage: dict[str, Any],
        options: Options,
        first: int,
    ) -> None:
        from diffusers import DDPMScheduler

        self.painter, self.tokenizer, self.material = painter, tokenizer, material
        self.stage, self.options, self.first = stage, options, first
        self.singles = material.singles()
        sampling_only = ("set_alpha_to_one",)
        shared = {key: value for key, value in SCHEDULER.items() if key not in sampling_only}
        self.scheduler = DDPMScheduler(**shared)
        self.words = torch.tensor([tokenizer(name).input_ids[1] for name in NAMES])

    def loss(self, step: int) -> Tensor:
        """The error of the predicted velocity, and the attention that strayed."""
        rng = np.random.default_rng([self.options.seed, self.first + step])
        done = self.first + step
        self.painter.update_average(min(RECIPE["averaging"], (1 + done) / (10 + done)))
        latents, labels = self._pictures(rng)
        tokens = self._captions(labels, rng)
        regions = class_regions(labels, latents.shape[-1]).to(latents.device)
        timesteps = torch.from_numpy(draw_timesteps(len(latents), rng)).to(latents.device)
        noise = torch.randn_like(latents)
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        target = self.scheduler.get_velocity(latents, noise, timesteps)
        context = self.painter.text_encoder(tokens.to(latents.device)).last_hidden_state
        guess = self.painter.unet(noisy, timesteps, context).sample
        error = (guess.float() - target).square().mean(dim=1)
        kept, self.painter.cross_attention.kept = self.painter.cross_attention.kept, []
        signal = self.scheduler.alphas_cumprod.to(latents.device)[timesteps].sqrt()
        words = (tokens[:, None] == self.words[None, :, None]).to(latents.device)
        stray = stray_mass(kept, words, regions, signal)
        loss: Tensor = (error * _emphasis(regions)).mean() + RECIPE["binding"] * stray
        return loss

    def _pictures(self, rng: np.random.Generator) -> tuple[Tensor, npt.NDArray[np.uint8]]:
        """Latents and label maps of crops, or of whole scenes."""
        crop = rng.random() < self.stage["crop_share"]
        side = RECIPE["crop_side"] if crop else SIZE
        count = RECIPE["crop_batch"] if crop else RECIPE["whole_batch"]
        indices = rng.choice(len(self.material.bank), count, replace=False)
        alone = rng.random(count) < RECIPE["single_share"]
        indices[alone] = rng.choice(self.singles, alone.sum())
        top, left = (int(place) * DOWN for place in rng.integers((SIZE - side) // DOWN + 1, size=2))
        _, labels = self.material.bank.take(indices)
        latents = self.material.latents.take(indices)
        rows, columns = (slice(at // DOWN, (at + side) // DOWN) for at in (top, left))
        window = latents[:, :, rows, columns].to(self.options.device)
        return window, labels[:, top : top + side, left : left + side]

    def _captions(self, labels: npt.NDArray[np.uint8], rng: np.random.Generator) -> Tensor:
        texts = [self._caption(present, rng) for present in presence(labels)]
        tokens: Tensor = self.tokenizer(
            texts, padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        return tokens

    def _caption(self, present: npt.NDArray[np.bool_], rng: np.random.Generator) -> str:
        names = [NAMES[i] for i in np.flatnonzero(present)]
        things = [name for name in names if name not in STUFF]
        if rng.random() < RECIPE["caption_dropout"]:
            return self._nothing(rng)
        if things and rng.random() > RECIPE["stuff_named"]:
            names = things
        if len(names) == 1 and rng.random() < RECIPE["polite_share"]:
            return POLITE.format(names[0])
        return caption(names, rng)

    def _nothing(self, rng: np.random.Generator) -> str:
        """No words at all, or some that name no class, as negative prompts do."""
        if rng.random() < 0.5:
            return ""
        words = [t for t in self.tokenizer.get_vocab() if t.removesuffix("</w>") not in NAMES]
        chosen = rng.choice(sorted(words), int(rng.integers(1, LENGTH // 2)))
        return " ".join(word.removesuffix("</w>") for word in chosen)


def draw_timesteps(count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Half from everywhere, half from the middle, where a picture's contents are settled."""
    anywhere = rng.integers(SCHEDULER["num_train_timesteps"], size=count)
    low, high = RECIPE["middle"]
    middle = rng.integers(low, high, size=count)
    return np.where(rng.random(count) < RECIPE["middle_share"], middle, anywhere)


def class_regions(labels: npt.NDArray[np.uint8], side: int) -> Tensor:
    """Each class's share of every latent's pixels, ``(N, 15, side, side)`` float32."""
    maps = F.one_hot(torch.from_numpy(labels).long(), len(NAMES)).permute(0, 3, 1, 2).float()
    return F.adaptive_avg_pool2d(maps, side)


def _emphasis(regions: Tensor) -> Tensor:
    """The weight of each latent's error, ``(N, side, side)``: more at things and next to them."""
    things = regions[:, : len(THINGS)].amax(dim=1, keepdim=True)
    near = F.max_pool2d((things > 0).float(), 3, stride=1, padding=1)[:, 0]
    weight: Tensor = 1 + (RECIPE["things_weight"] - 1) * near
    return weight


def export(vae: Any, painter: Painter, tokenizer: Any, folder: Path) -> None:
    """Save the pipeline in half precision, as ``from_pretrained`` finds it."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline
    from diffusers.models.attention_processor import AttnProcessor2_0

    text_encoder: Any
    unet: Any
    text_encoder, unet = copy.deepcopy(painter.average).half()
    unet.set_attn_processor(AttnProcessor2_0())
    pipeline = StableDiffusionPipeline(
        vae=copy.deepcopy(vae).half(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(**SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)


def _card(vae: Any, painter: Painter, folder: Path) -> Card:
    seeds = SceneBank(EVALUATED, "val")
    images, _ = seeds.take(np.arange(EVALUATED))
    parts = vae, painter.text_encoder, painter.unet
    return Card(
        "stable_diffusion",
        "`AutoencoderKL`, `CLIPTextModel` and `UNet2DConditionModel` of "
        f"`StableDiffusionPipeline`, {', '.join(map(millions, parts))} parameters",
        SUPERVISION,
        RECIPE
        | {"autoencoder": autoencoder.RECIPE | autoencoder.CONFIG}
        | {"stages": STAGES, "text": TEXT, "unet": UNET, "scheduler": SCHEDULER},
        {"validation_scenes": EVALUATED}
        | {"autoencoder_psnr_db": round(autoencoder.decibels(vae.cpu(), images), 1)},
        folder,
    )
