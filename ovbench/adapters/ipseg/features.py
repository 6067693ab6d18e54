"""Features of a picture from Stable Diffusion and a transformer, on one grid of places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.ipseg.encoders import Encoder
from ovbench.adapters.ipseg.settings import Settled
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.stages import stage
from ovbench.models.diffusion.model import Diffusion
from ovbench.models.pixels.inputs import Normalised, input_tensor
from ovbench.models.pixels.windows import slide

LAYERS = ("up_blocks.0.resnets.1", "up_blocks.1.attentions.1", "up_blocks.2.attentions.1")
"""What enters output blocks 2, 5 and 8 of Stable Diffusion's U-Net, coarse to fine: s5, s4, s3."""

FINEST, COARSEST = 2, 8
"""Latents per place of the finest and of the coarsest layer."""

SD_WEIGHTS, ENCODER_WEIGHT = (0.01, 0.02, 0.03), 1.0
"""Of the released code's sum: 0.1 times 0.1, 0.2 and 0.3 for s5, s4 and s3."""


@dataclass(frozen=True, slots=True)
class Letterbox:
    """A picture in the middle of a black square.

    Attributes:
        pixels: ``(side, side, 3)`` uint8.
        top, left, height, width: of the picture, in pixels of the square.
        size: height and width of the picture itself.
    """

    pixels: Image
    top: int
    left: int
    height: int
    width: int
    size: tuple[int, int]

    @classmethod
    def of(cls, image: Image, side: int) -> Letterbox:
        """Bring a picture's longer side to ``side``, by Lanczos as in the released code."""
        scale = side / max(image.shape[:2])
        height, width = (max(1, round(s * scale)) for s in image.shape[:2])
        top, left = (side - height) // 2, (side - width) // 2
        square = np.zeros((side, side, 3), np.uint8)
        resized = Pillow.fromarray(image).resize((width, height), Pillow.Resampling.LANCZOS)
        square[top : top + height, left : left + width] = np.asarray(resized)
        return cls(square, top, left, height, width, image.shape[:2])

    def inside(self, features: Tensor, grid: int) -> Tensor:
        """Features of the picture alone, its shape given up: nearest, ``(C, grid, grid)``.

        Args:
            features: ``(C, h, w)`` of the square.
        """
        side = len(self.pixels)
        steps = (np.arange(grid) + 0.5) / grid
        rows, columns = (
            ((start + steps * length) * cells / side).astype(np.intp).clip(max=cells - 1)
            for start, length, cells in zip(
                (self.top, self.left), (self.height, self.width), features.shape[1:], strict=True
            )
        )
        return features[:, torch.as_tensor(rows)][:, :, torch.as_tensor(columns)]

    def whole_cells_inside(self, features: Tensor, grid: int) -> Tensor:
        """As :meth:`inside`, as released code does it (``clip_feat``, ``F.interpolate``).

        Whole cells that the picture does not reach are left out, then the nearest ones are read
        at the places' corners.
        """
        cells = features.shape[-1]
        per_cell = max(self.size) / cells
        top, left = ((cells - int(length / per_cell)) // 2 for length in self.size)
        cut = features[:, top : cells - top, left : cells - left]
        return functional.interpolate(cut[None], (grid, grid), mode="nearest")[0]


class Extractor:
    """Reads features with the models it was given.

    Attributes:
        diffusion, encoder: None where the settings do not use them.
    """

    def __init__(
        self,
        settings: Settled,
        diffusion: Diffusion | None,
        encoder: Encoder | None,
        seed: int,
    ) -> None:
        self._settings, self.diffusion, self.encoder = settings, diffusion, encoder
        self._noise_seed = seed if settings.noise_seed is None else settings.noise_seed

    def blocks(self, layers: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What is compared by cosine, each ``(d, grid, grid)``: concatenated features, or each."""
        return layers if self._settings.fusion == "weighted" else (concatenated(layers),)

    @property
    def weights(self) -> tuple[float, ...]:
        """Of the blocks' cosines in their sum."""
        if self._settings.fusion == "concat":
            return (1.0,)
        return (
            *(SD_WEIGHTS if self.diffusion else ()),
            *((ENCODER_WEIGHT,) if self.encoder else ()),
        )

    @torch.no_grad()
    def layers(self, image: Image) -> tuple[Tensor, ...]:
        """Features of a picture, ``(d, grid, grid)`` float32 each.

        Stable Diffusion's three layers, coarse to fine, and behind them the transformer's, as far
        as they are used.
        """
        found: list[Tensor] = []
        if self.diffusion is not None:
            with stage("diffusion"):
                found += self._of_diffusion(self.diffusion, image)
        if self.encoder is not None:
            alone = self._settings.features
            with stage("dinov2" if alone == "both" else alone):
                found.append(self._of_encoder(self.encoder, image))
        return tuple(found)

    def _of_diffusion(self, model: Diffusion, image: Image) -> list[Tensor]:
        """Windows of the size that the model was trained on, overlapping by a coarsest place."""
        grid, unit = self._settings.grid, COARSEST * model.cell
        box = Letterbox.of(image, grid * FINEST * model.cell)
        pixels = _input(model, box)
        window = min(model.image_size, pixels.shape[-1])
        sizes: list[int] = []
        repeats: list[int] = []

        def encode(pixels: Tensor) -> Tensor:
            found = model.features(
                pixels, LAYERS, timestep=self._settings.timestep, seed=self._noise_seed
            ).values()
            finest = pixels.shape[-1] // (FINEST * model.cell)
            sizes[:] = [layer.shape[1] for layer in found]
            repeats[:] = [finest // layer.shape[-1] for layer in found]
            # A coarse layer's places become equal ones of the finest: overlaps average alike.
            return torch.cat(
                [functional.interpolate(layer, (finest, finest)) for layer in found], 1
            )

        stride = max(unit, window - unit)
        (read,) = slide(pixels, encode, window=window, stride=stride, cell=FINEST * model.cell)
        # Each layer on its own places again.
        layers = zip(read.split(sizes), repeats, strict=True)
        return [self._inside(box, layer[:, ::step, ::step]) for layer, step in layers]

    def _of_encoder(self, model: Encoder, image: Image) -> Tensor:
        """Tokens behind the last block, without the final normalisation (released code)."""
        grid = self._settings.grid
        box = Letterbox.of(image, grid * model.patch_size)
        return self._inside(box, model.features(_input(model, box))[0])

    def _inside(self, box: Letterbox, features: Tensor) -> Tensor:
        cut = box.whole_cells_inside if self._settings.inside == "cells" else box.inside
        return cut(features, self._settings.grid)


def _input(model: Normalised, box: Letterbox) -> Tensor:
    tensor = input_tensor(
        box.pixels, box.pixels.shape[:2], mean=model.mean, std=model.std,
        mode="bilinear", device=model.device,
    )  # fmt: skip
    return tensor[None]


def concatenated(layers: Sequence[Tensor]) -> Tensor:
    """Equation 4: all channels of a place together.

    The paper does not say how features of unlike magnitude are balanced. Here every layer is
    brought to unit length, and Stable Diffusion's three count together as much as DINOv2.

    Args:
        layers: ``(d, g, g)`` each: Stable Diffusion's three, a transformer's, or all four.
    """
    of_encoder = len(layers) % len(LAYERS)
    of_diffusion = len(layers) - of_encoder
    shares = [of_diffusion**-0.5 for _ in range(of_diffusion)] + [1.0] * of_encoder
    units = zip(layers, shares, strict=True)
    return torch.cat([functional.normalize(layer, dim=0) * share for layer, share in units])
