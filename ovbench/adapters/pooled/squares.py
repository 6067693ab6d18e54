"""Squares that pictures are squashed to, by Pillow as in both released codes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.models.pixels.inputs import pillow_tensor


def require_patches(side: int, patch: int) -> None:
    """Raise a :class:`~ovbench.errors.UsageError` unless a side is a number of whole patches."""
    if side % patch:
        raise UsageError(f"side={side}: must be a multiple of the model's patch, {patch} pixels")


def normalised(
    squares: Sequence[Image], mean: Sequence[float], std: Sequence[float], device: torch.device
) -> Tensor:
    """Squares of one size as a network's input, ``(n, 3, side, side)`` float32."""
    return torch.stack(
        [
            pillow_tensor(
                square, square.shape[:2], mean=mean, std=std, mode="bilinear", device=device
            )
            for square in squares
        ]
    )
