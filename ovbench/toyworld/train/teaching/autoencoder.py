"""The miniature's ``AutoencoderKL``: pictures to latents a quarter as wide and high, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from ovbench.toyworld.quality.recognition import to_pixels
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.train.teaching.views import draw_views
from ovbench.toyworld.world import SIZE

DOWN = 4
"""Pixels per latent, along both axes."""

CONFIG: dict[str, Any] = {
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
    "block_out_channels": [16, 32, 48],
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 8,
    "sample_size": SIZE,
    "mid_block_add_attention": False,
}

RECIPE: dict[str, Any] = {
    "learning_rate": 2e-3,
    "crop_side": 48,
    "crop_batch": 32,
    "squared_error": 2.0,  # besides the absolute error
    "kl": 1e-3,  # per latent element
    "whole_share": 0.15,  # of the steps, the last ones
    "whole_batch": 8,
}

CHUNK = 32
"""Scenes encoded together."""


def build_autoencoder() -> Any:
    """An untrained ``AutoencoderKL``."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(**CONFIG)


def reconstruction_loss(autoencoder: Any, bank: SceneBank, options: Options, step: int) -> Tensor:
    """Absolute and squared error of a batch's pictures, and the latents' divergence."""
    rng = np.random.default_rng([options.seed, step])
    whole = step >= options.steps * (1 - RECIPE["whole_share"])
    size = "whole" if whole else "crop"
    side = SIZE if whole else RECIPE["crop_side"]
    images = draw_views(bank, RECIPE[f"{size}_batch"], side, rng).images
    pixels = to_pixels(torch.from_numpy(images)).to(options.device)
    latents = autoencoder.encode(pixels).latent_dist
    rebuilt = autoencoder.decode(latents.sample()).sample
    error = F.l1_loss(rebuilt, pixels) + RECIPE["squared_error"] * F.mse_loss(rebuilt, pixels)
    loss: Tensor = error + RECIPE["kl"] * latents.kl().mean() / latents.mean[0].numel()
    return loss


@torch.inference_mode()
def decibels(autoencoder: Any, images: npt.NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of pictures that went through the latents."""
    pixels = to_pixels(torch.from_numpy(images))
    rebuilt = autoencoder.decode(autoencoder.encode(pixels).latent_dist.mode()).sample
    error = F.mse_loss(rebuilt.float().clamp(-1, 1), pixels)
    return float(10 * torch.log10(4 / error))


class LatentBank:
    """A scene bank's pictures as latents, encoded when first asked for and kept.

    Whole chunks are encoded, always the same ones: then a picture's latents do not depend
    on what was asked for before, down to the last bit.
    """

    def __init__(self, autoencoder: Any, bank: SceneBank, device: str) -> None:
        self._autoencoder, self._bank, self._device = autoencoder, bank, device
        side = SIZE // DOWN
        self._latents = torch.empty(len(bank), CONFIG["latent_channels"], side, side)
        self._encoded = np.zeros(-(-len(bank) // CHUNK), bool)
        first, _ = bank.take(np.arange(min(8 * CHUNK, len(bank))))
        self.scaling_factor = 1 / float(self._encode(first).std())

    def take(self, indices: npt.NDArray[np.int64]) -> Tensor:
        """Latents ``(N, 4, 24, 24)`` float32 of unit variance."""
        for chunk in np.unique(indices // CHUNK):
            if not self._encoded[chunk]:
                span = np.arange(chunk * CHUNK, min((chunk + 1) * CHUNK, len(self._bank)))
                self._latents[span] = self._encode(self._bank.take(span)[0])
                self._encoded[chunk] = True
        return self._latents[indices] * self.scaling_factor

    @torch.no_grad()
    def _encode(self, images: npt.NDArray[np.uint8]) -> Tensor:
        pixels = to_pixels(torch.from_numpy(images)).to(self._device)
        with torch.autocast(pixels.device.type, enabled=False):
            latents: Tensor = self._autoencoder.encode(pixels).latent_dist.mode()
        return latents.cpu()
