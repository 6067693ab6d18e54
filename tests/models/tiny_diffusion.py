"""A Stable Diffusion small enough for every test, with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    SchedulerMixin,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ovbench.harness.contract.runtime import CheckpointRecord, Precision, Runtime
from ovbench.models.diffusion.folder import Parts
from ovbench.models.diffusion.model import Diffusion
from ovbench.toyworld.train.teaching.subwords import write_clip_tokenizer

RECORD = CheckpointRecord("stable_diffusion", "tiny", None, None)
LENGTH = 12
SIDE = 16
"""Of the latents; a picture's is twice as long."""

UNET: dict[str, Any] = {
    "sample_size": SIDE,
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "block_out_channels": [8, 16, 16],
    "layers_per_block": 1,
    "attention_head_dim": [2, 4, 4],
    "cross_attention_dim": 16,
    "norm_num_groups": 4,
}
VAE: dict[str, Any] = {
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "block_out_channels": [8, 16],
    "latent_channels": 4,
    "norm_num_groups": 4,
    "scaling_factor": 0.7,
}
SCHEDULER: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def tokenizer(folder: Path) -> Any:
    """Knows a few words, and the others by their letters."""
    write_clip_tokenizer(["a photo of a cat dog traffic light"], folder, LENGTH)
    return CLIPTokenizer.from_pretrained(folder)


def build(folder: Path, prediction: str = "epsilon") -> Parts:
    """Parts whose attention differs visibly from place to place and word to word."""
    words = tokenizer(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        text = CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=LENGTH,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
        )
        unet = UNet2DConditionModel(**UNET)
        for name, weight in unet.named_parameters():
            if ".attn2.to_" in name:
                torch.nn.init.normal_(weight)
        scheduler = DDIMScheduler(**SCHEDULER, prediction_type=prediction)
        return Parts(
            AutoencoderKL(**VAE).eval(),
            CLIPTextModel(text).eval(),
            words,
            unet.eval(),
            dict(scheduler.config),
        )


def wrap(parts: Parts, precision: Precision = "fp32") -> Diffusion:
    return Diffusion(parts, (RECORD,), Runtime(precision=precision))


def pipeline(parts: Parts, scheduler: SchedulerMixin) -> Any:
    """The same parts in diffusers' own pipeline."""
    found = StableDiffusionPipeline(
        **{**parts._asdict(), "scheduler": scheduler},
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    found.set_progress_bar_config(disable=True)
    return found


def attention_layers(unet: Any) -> Sequence[str]:
    """The names of the cross-attention layers."""
    return [name for name, _ in unet.named_modules() if name.endswith(".attn2")]
