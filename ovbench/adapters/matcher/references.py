"""What the prompt images of a class show: features of all cells, and which are the object's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as Pillow
from torch import Tensor
from torch.nn import functional

from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.vocabulary import Exemplar
from ovbench.models.patches.encoder import PatchEncoder
from ovbench.models.patches.saliency import Saliency
from ovbench.models.pixels.inputs import input_tensor, squashed


class Reference(NamedTuple):
    """All prompt images of a class, one behind the other.

    Attributes:
        features: ``(R, d)``, of unit length, R cells.
        inside: ``(R,)`` bool, the cells that the object touches; at least one.
    """

    features: Tensor
    inside: npt.NDArray[np.bool_]


def squash(image: Image, side: int) -> Image:
    """A picture as a square, resized by Pillow with a bilinear filter, as HSNet's loader does."""
    return np.asarray(Pillow.fromarray(image).resize((side, side), Pillow.Resampling.BILINEAR))


def cell_features(encoder: PatchEncoder, square: Image) -> Tensor:
    """Unit features of the last layer's tokens, without the final norm; ``(N, d)``."""
    features = encoder.features(squashed(encoder, [square], square.shape[0]))[0]
    return functional.normalize(features.flatten(1).mT, dim=1)


def touched_cells(mask: npt.NDArray[np.bool_], side: int, patch: int) -> npt.NDArray[np.bool_]:
    """The cells of the squashed picture that a mask touches, row by row.

    A mask that touches none, because it is empty, stands for the cell in the middle.
    """
    square = functional.interpolate(torch.as_tensor(mask)[None, None].float(), (side, side))
    cells = functional.max_pool2d(square, patch)[0, 0].numpy() > 0
    if not cells.any():
        cells[cells.shape[0] // 2, cells.shape[1] // 2] = True
    return cells.ravel()


def salient(saliency: Saliency, image: Image, threshold: float) -> npt.NDArray[np.bool_]:
    """The pixels that a saliency model takes for an object's."""
    pixels = input_tensor(
        image,
        image.shape[:2],
        mean=saliency.mean,
        std=saliency.std,
        mode="bilinear",
        device=saliency.device,
    )
    found: npt.NDArray[np.bool_] = (saliency.predict(pixels[None])[0] > threshold).cpu().numpy()
    return found


def reference_of(
    exemplars: Sequence[Exemplar],
    masks: Sequence[npt.NDArray[np.bool_]],
    encoder: PatchEncoder,
    side: int,
) -> Reference:
    """Encode the prompt images of a class; ``masks`` say where it is in each."""
    features = [cell_features(encoder, squash(e.image, side)) for e in exemplars]
    inside = [touched_cells(mask, side, encoder.patch_size) for mask in masks]
    return Reference(torch.cat(features), np.concatenate(inside))
