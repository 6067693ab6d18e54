"""The vision-language models that the method was tried on, and what they are shown."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ovbench.adapters.pnp_ovss.settings import VLM
from ovbench.harness.profiler import stage
from ovbench.harness.protocol import Image, Runtime
from ovbench.models.blip import load_blip
from ovbench.models.bridgetower import load_bridgetower
from ovbench.models.images import input_tensor
from ovbench.models.matcher import Matcher


def load_vlm(name: VLM, runtime: Runtime) -> Matcher:
    """Load the model of a setting, by the paper's name for it.

    Raises:
        UsageError: weights that cannot be had.
    """
    if name == "bridgetower":
        # Layer 2 of 6 and head 8 of 16 (paper, table 2) tell that it was the large one.
        return load_bridgetower("bridgetower_large_itm", runtime)
    return load_blip(name, runtime)


def squashed(model: Matcher, images: Sequence[Image], side: int) -> Tensor:
    """Images as the model sees them: ``(B, 3, side, side)``, normalised, shape given up."""
    with stage("preprocess"):
        inputs = [
            input_tensor(
                image,
                (side, side),
                mean=model.mean,
                std=model.std,
                mode="bicubic",
                device=model.device,
            )
            for image in images
        ]
        return torch.stack(inputs)
