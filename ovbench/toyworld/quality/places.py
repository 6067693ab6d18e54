"""How well two towers name the places of scenes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD, normalised
from ovbench.models.towers.model import Towers
from ovbench.toyworld.quality.localisation import TEMPLATES, miou, things_or_background
from ovbench.toyworld.scene import Scene
from ovbench.toyworld.world import NAMES, SIZE, THINGS

SIDES = (SIZE, 2 * SIZE)
"""Input sizes: as trained, and enlarged."""

_BATCH = 20


Colours = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation of pixels, scaled to 0..1, that a network takes off its input."""

IMAGENET: Colours = (IMAGENET_MEAN, IMAGENET_STD)


def measure(
    model: Towers, scenes: Sequence[Scene], colours: Colours = IMAGENET
) -> dict[str, float]:
    """mIoU in percent, things and stuff (15) and the stuff names folded to background (11)."""
    labels = np.stack([scene.label for scene in scenes])
    results = {}
    for side in SIDES:
        found = name_places(model, scenes, side, colours)
        results[f"miou_15_{side}px"] = miou(found, labels, len(NAMES))
        folded = things_or_background(found), things_or_background(labels)
        results[f"miou_11_{side}px"] = miou(*folded, len(THINGS) + 1)
    return results


@torch.inference_mode()
def name_places(
    model: Towers, scenes: Sequence[Scene], side: int, colours: Colours = IMAGENET
) -> npt.NDArray[np.int64]:
    """The class of the highest cosine at every pixel, ``(N, SIZE, SIZE)``."""
    texts = model.embed_queries(NAMES, TEMPLATES)
    found = []
    for start in range(0, len(scenes), _BATCH):
        images = np.stack([scene.image for scene in scenes[start : start + _BATCH]])
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
        pixels = normalised(pixels, *colours)
        pixels = F.interpolate(pixels, (side, side), mode="bicubic")
        places = F.normalize(model.places(pixels), dim=1)
        cosines = torch.einsum("qd,bdhw->bqhw", texts, places)
        found.append(F.interpolate(cosines, (SIZE, SIZE), mode="bilinear").argmax(dim=1))
    return torch.cat(found).numpy()
