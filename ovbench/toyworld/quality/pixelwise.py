"""How well LSeg draws the pixels of scenes to the names of their classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from ovbench.models.pixelwise.lseg import LSeg
from ovbench.toyworld.quality.inputs import imagenet_pixels
from ovbench.toyworld.quality.localisation import miou
from ovbench.toyworld.scene import Scene
from ovbench.toyworld.world import NAMES, SIZE

TEMPLATES = ("{}",)
"""A name as it is."""

_BATCH = 10


def measure(model: LSeg, texts: Tensor, scenes: Sequence[Scene]) -> dict[str, float]:
    """mIoU in percent over things and stuff, of one look at the side that it was trained on.

    Args:
        texts: of :data:`~ovbench.toyworld.world.NAMES` in :data:`TEMPLATES`.
    """
    labels = np.stack([scene.label for scene in scenes])
    found = miou(segment(model, texts, scenes), labels, len(NAMES))
    return {f"miou_15_{model.side}px": found}


def segment(model: LSeg, texts: Tensor, scenes: Sequence[Scene]) -> npt.NDArray[np.int64]:
    """The class of the highest cosine at every pixel, ``(N, SIZE, SIZE)``."""
    found = []
    for start in range(0, len(scenes), _BATCH):
        images = np.stack([scene.image for scene in scenes[start : start + _BATCH]])
        vectors = model.embed(imagenet_pixels(images, model.side).to(model.device))
        cosines = torch.einsum("qd,bdhw->bqhw", texts, vectors)
        maps = F.interpolate(cosines, (SIZE, SIZE), mode="bilinear", align_corners=True)
        found.append(maps.argmax(dim=1).cpu())
    labels: npt.NDArray[np.int64] = torch.cat(found).numpy()
    return labels
