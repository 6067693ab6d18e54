"""What SAM's image encoder holds for one thing: its last attention, where values are alike too.

Shi et al., "Harnessing Vision Foundation Models for High-Performance, Training-Free Open Vocabulary
Segmentation" (Trident, ICCV 2025); released code: github.com/YuHengsss/Trident,
open_clip/transformer.py, get_sam_sim.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.models.sam.model import Sam
from ovbench.models.sam.promptable import EncodedImage

STEEPEST = 0.9
"""No cosine above it is asked for."""

INSTEAD = 0.6
"""What stands for a threshold below zero where those are raised."""


class LastAttention(NamedTuple):
    """The last block's attention over an image, what is padding left out.

    Attributes:
        block: ``segment_anything``'s attention.
        joint: ``(3, heads, H * W, d)``, queries, keys and values of the whole input.
        whole: rows and columns of the whole input, ``(H, W)``.
        grid: those that the image covers, ``(h, w)``.
    """

    block: Any
    joint: Tensor
    whole: tuple[int, int]
    grid: tuple[int, int]

    @property
    def values(self) -> Tensor:
        """``(heads, h * w, d)`` float32."""
        return self._covered(self.joint[2]).float()

    def weights(self) -> Iterator[Tensor]:
        """Of every head, ``(h * w, h * w)`` float32: from each place to each, behind the softmax.

        That runs over the padding as well, so that a row has no sum of one. One head at a time:
        at 1024 pixels one is 64 MiB.
        """
        from segment_anything.modeling.image_encoder import add_decomposed_rel_pos

        block, (height, width) = self.block, self.grid
        for query, key in zip(self.joint[0, :, None], self.joint[1, :, None], strict=True):
            scores = query * block.scale @ key.mT
            if block.use_rel_pos:
                places = block.rel_pos_h, block.rel_pos_w
                scores = add_decomposed_rel_pos(scores, query, *places, self.whole, self.whole)
            weights = scores.float().softmax(dim=-1).reshape(*self.whole, *self.whole)
            yield weights[:height, :width, :height, :width].reshape(height * width, -1)

    def _covered(self, heads: Tensor) -> Tensor:
        height, width = self.grid
        apart = heads.reshape(len(heads), *self.whole, -1)
        return apart[:, :height, :width].flatten(1, 2)


@torch.inference_mode()
def encode_attended(sam: Sam, image: Image) -> tuple[EncodedImage, LastAttention]:
    """Embed an RGB image ``(H, W, 3)`` uint8, as :meth:`Sam.encode`, and keep the last attention.

    Raises:
        UsageError: a SAM whose last block attends within windows.
    """
    encoder = sam.model.image_encoder
    block = encoder.blocks[-1]
    if block.window_size:
        raise UsageError(
            f"{sam.checkpoints[0].name}: the last block attends within windows; the correlation "
            "needs one that attends to the whole image, as the official ones do"
        )
    kept: list[Tensor] = []
    handle = block.attn.qkv.register_forward_hook(lambda _, __, found: kept.append(found[0]))
    try:
        encoded = sam.encode(image)
    finally:
        handle.remove()
    (found,) = kept
    height, width, _ = found.shape
    joint = found.reshape(height * width, 3, block.attn.num_heads, -1).permute(1, 2, 0, 3)
    patch = sam.image_size // height
    grid = max(encoded.input_size[0] // patch, 1), max(encoded.input_size[1] // patch, 1)
    return encoded, LastAttention(block.attn, joint, (height, width), grid)


def correlation(
    values: Tensor, weights: Iterable[Tensor], *, factor: float, raise_negative: bool
) -> Tensor:
    """From an attention's weights those whose values are alike, averaged over the heads.

    Args:
        values: ``(heads, n, d)``.
        weights: of every head, ``(n, n)``, behind the softmax.
        factor: a place's threshold is this times the mean of its cosines over all heads and places,
            at most :data:`STEEPEST`.
        raise_negative: a threshold below zero becomes :data:`INSTEAD`.

    Returns:
        ``(n, n)`` float32, every row with the sum 1.
    """
    unit = functional.normalize(values, dim=-1)
    mean = (unit @ unit.mean(dim=1, keepdim=True).mT).mean(dim=0)
    threshold = factor * mean
    if raise_negative:
        threshold = torch.where(threshold < 0, INSTEAD, threshold)
    threshold = threshold.clamp_max(STEEPEST)
    total = torch.zeros(unit.shape[1], unit.shape[1], device=unit.device)
    for head, looked in zip(unit, weights, strict=True):
        total += torch.where(head @ head.mT > threshold, looked, 0)
    return functional.normalize(total, p=1, dim=-1)
