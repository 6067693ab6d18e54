"""How well TCL's masker cuts out of scenes what it is asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from ovbench.models.clip.masker import Masker
from ovbench.models.clip.model import CLIP
from ovbench.toyworld.quality.inputs import imagenet_pixels
from ovbench.toyworld.quality.localisation import TEMPLATES, both
from ovbench.toyworld.scene import Scene
from ovbench.toyworld.world import NAMES, SIZE

SIDES = (SIZE, 2 * SIZE)
"""Input sizes: as trained, and enlarged in the proportion 448 / 224 that TCL uses."""

_BATCH = 10


def measure(clip: CLIP, masker: Masker, scenes: Sequence[Scene]) -> dict[str, float]:
    """mIoU in percent of the masks alone, the largest at every pixel, without CLIP's own cosines.

    Over things and stuff (15), and with the stuff names' masks as background (11).
    """
    labels = np.stack([scene.label for scene in scenes])
    results: dict[str, float] = {}
    for side in SIDES:
        results |= both(segment(clip, masker, scenes, side), labels, f"{side}px")
    return results


def segment(
    clip: CLIP, masker: Masker, scenes: Sequence[Scene], side: int
) -> npt.NDArray[np.int64]:
    """The class of the largest mask at every pixel of enlarged scenes, ``(N, SIZE, SIZE)``."""
    images = np.stack([scene.image for scene in scenes])
    labels: npt.NDArray[np.int64] = masks(clip, masker, images, side).argmax(dim=1).numpy()
    return labels


@torch.inference_mode()
def masks(clip: CLIP, masker: Masker, images: npt.NDArray[np.uint8], side: int) -> Tensor:
    """The mask of every class in scenes enlarged to ``side`` pixels.

    Args:
        images: ``(N, SIZE, SIZE, 3)``.

    Returns:
        ``(N, 15, SIZE, SIZE)`` float32, on the CPU.
    """
    texts, found = clip.embed_queries(NAMES, TEMPLATES), []
    for start in range(0, len(images), _BATCH):
        pixels = imagenet_pixels(images[start : start + _BATCH], side)
        places = F.normalize(masker.embed(clip.trunk(pixels)), dim=1)
        small = masker.masks(torch.einsum("kd,ndhw->nkhw", texts, places))
        found.append(F.interpolate(small, (SIZE, SIZE), mode="bilinear").cpu())
    return torch.cat(found)
