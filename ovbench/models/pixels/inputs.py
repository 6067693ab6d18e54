"""From image arrays to a network's input: size and normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ovbench.harness.contract.arrays import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Of ImageNet's pixels, scaled to 0..1, per channel in RGB."""

IMAGENET_STD = (0.229, 0.224, 0.225)
"""As :data:`IMAGENET_MEAN`."""


def fit_size(
    size: tuple[int, int], *, short_side: int, max_long_side: int, multiple: int
) -> tuple[int, int]:
    """The input size for an image, keeping its shape as far as the rounding allows.

    Args:
        size: height and width of the image.
        short_side: wanted length of the shorter side.
        max_long_side: the longer side is not made longer than this, however short the
            other becomes.
        multiple: both sides are rounded to the nearest multiple, at least one.
    """
    scale = min(short_side / min(size), max_long_side / max(size))
    height, width = (max(1, round(side * scale / multiple)) * multiple for side in size)
    return height, width


def kept_ratio(
    size: tuple[int, int], *, short_side: int, max_long_side: int, least: int = 1
) -> tuple[int, int]:
    """The input size for an image, in pixels: both sides by one factor, rounded half up.

    As mmcv's ``imrescale`` computes it.

    Args:
        size: height and width of the image.
        short_side: wanted length of the shorter side.
        max_long_side: limit of the longer side, however short the other becomes.
        least: neither side is made shorter, at the cost of the image's shape.
    """
    scale = min(short_side / min(size), max_long_side / max(size))
    height, width = (max(least, int(side * scale + 0.5)) for side in size)
    return height, width


def input_tensor(
    image: Image,
    size: tuple[int, int],
    *,
    mean: Sequence[float],
    std: Sequence[float],
    mode: Literal["bilinear", "bicubic"],
    device: torch.device,
    antialias: bool = True,
    whole_numbers: bool = False,
) -> Tensor:
    """Resize and normalise an image on the device.

    Args:
        image: ``(H, W, 3)`` uint8.
        size: height and width of the result.
        mean, std: per channel, of pixels scaled to 0..1.
        mode, antialias, whole_numbers: see :func:`resized`.

    Returns:
        ``(3, height, width)`` float32.
    """
    pixels = resized(
        pixels_of(image, device)[None],
        size,
        mode=mode,
        antialias=antialias,
        whole_numbers=whole_numbers,
    )
    return normalised(pixels[0], mean, std)


def up_to_multiples(pixels: Tensor, multiple: int, least: int) -> Tensor:
    """An input ``(3, H, W)`` enlarged, the longer side first, unless both sides are multiples.

    As Trident's released code does it, github.com/YuHengsss/Trident, trident.py.

    Args:
        multiple: of both sides of the result, in pixels.
        least: side of the result; a multiple.
    """
    height, width = pixels.shape[1:]
    if height % multiple == 0 and width % multiple == 0:
        return pixels
    longer = max(height, width)
    wanted = -(-longer // multiple) * multiple
    size = [max(-(-(side * wanted // longer) // multiple) * multiple, least)
            for side in (height, width)]  # fmt: skip
    return functional.interpolate(pixels[None], size, mode="bilinear")[0]


def pixels_of(image: Image, device: torch.device) -> Tensor:
    """``(3, H, W)`` float32, 0..255."""
    return torch.tensor(np.ascontiguousarray(image), device=device).permute(2, 0, 1).float()


def resized(
    pixels: Tensor,
    size: tuple[int, int],
    *,
    mode: Literal["bilinear", "bicubic"],
    antialias: bool = True,
    whole_numbers: bool = False,
) -> Tensor:
    """Resize pixels, which are kept within 0..255.

    Shrinking averages over the pixels that fall together, as Pillow and torchvision do with
    ``antialias``; OpenCV, older mmsegmentation and older torchvision on tensors do not.

    Args:
        pixels: ``(B, 3, H, W)`` float32; as they are where they have the size.
        whole_numbers: round resized values, as libraries do that return bytes.

    Returns:
        ``(B, 3, *size)`` float32.
    """
    if pixels.shape[2:] == size:
        return pixels
    pixels = functional.interpolate(
        pixels, size, mode=mode, align_corners=False, antialias=antialias
    ).clamp_(0, 255)
    return pixels.round_() if whole_numbers else pixels


def normalised(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Pixels ``(..., 3, H, W)`` of 0..255 by mean and deviation of pixels of 0..1."""
    shift = torch.tensor(mean, device=pixels.device)[:, None, None] * 255
    scale = torch.tensor(std, device=pixels.device)[:, None, None] * 255
    return (pixels - shift) / scale


def pillow_tensor(
    image: Image,
    size: tuple[int, int],
    *,
    mean: Sequence[float],
    std: Sequence[float],
    mode: Literal["bilinear", "bicubic", "nearest"],
    device: torch.device,
) -> Tensor:
    """As :func:`input_tensor`, by Pillow: bytes, rounded and clipped after each of two passes.

    With the arithmetic of torchvision's ``Resize``, ``ToTensor`` and ``Normalize``, for methods
    whose released code has them.
    """
    picture = pillow_resized(image, size, mode)
    pixels = torch.from_numpy(picture).permute(2, 0, 1).contiguous().float().div(255)
    shift, scale = (torch.tensor(values)[:, None, None] for values in (mean, std))
    return ((pixels - shift) / scale).to(device)


def pillow_resized(
    image: Image, size: tuple[int, int], mode: Literal["bilinear", "bicubic", "nearest"]
) -> Image:
    """An image of another height and width, by Pillow; ``(*size, 3)`` uint8."""
    from PIL import Image as Pillow

    method = Pillow.Resampling[mode.upper()]
    return np.array(Pillow.fromarray(image).resize((size[1], size[0]), method))


class Normalised(Protocol):
    """A model that says how its input is normalised."""

    mean: Any
    std: Any
    device: torch.device


def squashed(model: Normalised, images: Sequence[Image], side: int) -> Tensor:
    """Images brought to one square, their shape given up, so that nothing is cut off.

    Returns:
        ``(B, 3, side, side)`` float32, normalised for the model; bicubic.
    """
    size = (side, side)
    return torch.stack(
        [
            input_tensor(
                image, size, mean=model.mean, std=model.std, mode="bicubic", device=model.device
            )
            for image in images
        ]
    )
