"""Scenes as the models that take tensors want them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from ovbench.models.matchers.matcher import Matcher
from ovbench.models.patches.encoder import PatchEncoder
from ovbench.models.patches.saliency import Saliency
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD, squashed
from ovbench.toyworld.scene import Scene


def scene_inputs(
    model: Matcher | PatchEncoder | Saliency, scenes: Sequence[Scene], side: int
) -> Tensor:
    """Scenes enlarged to ``side`` pixels and normalised, ``(N, 3, side, side)`` float32."""
    return squashed(model, [scene.image for scene in scenes], side)


def imagenet_pixels(images: npt.NDArray[np.uint8], side: int) -> Tensor:
    """As methods that decide window by window take them: enlarged bilinearly, ImageNet's mean.

    Args:
        images: ``(N, H, W, 3)``.

    Returns:
        ``(N, 3, side, side)`` float32.
    """
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std
    return F.interpolate(pixels, (side, side), mode="bilinear")
