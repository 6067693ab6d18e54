"""Pictures as the model's input: squares, whatever their shape was."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ovbench.adapters.pnp_ovss.settings import Settled
from ovbench.harness.contract.arrays import Image
from ovbench.models.matchers.matcher import Matcher
from ovbench.models.pixels.inputs import input_tensor, pillow_tensor


def squared(model: Matcher, images: Sequence[Image], settings: Settled) -> Tensor:
    """Images brought to one size, normalised for the model unless the settings say not to.

    Returns:
        ``(B, 3, S, S)`` float32.
    """
    resize = pillow_tensor if settings.pixels == "pil" else input_tensor
    mean, std = (model.mean, model.std) if settings.normalised else ((0.0,) * 3, (1.0,) * 3)
    size = (settings.resolution, settings.resolution)
    return torch.stack(
        [
            resize(
                image, size, mean=mean, std=std, mode=settings.interpolation, device=model.device
            )
            for image in images
        ]
    )
