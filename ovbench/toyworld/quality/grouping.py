"""How well a GroupViT finds and names what is in scenes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from ovbench.models.grouping.groupvit import GroupViT
from ovbench.toyworld.quality.inputs import imagenet_pixels
from ovbench.toyworld.quality.localisation import TEMPLATES, both
from ovbench.toyworld.scene import Scene
from ovbench.toyworld.world import NAMES, SIZE

SIDES = (SIZE, 2 * SIZE)
"""Input sizes: as trained, and enlarged in the proportion 448 / 224 that GroupViT uses."""

_BATCH = 20


class Named(NamedTuple):
    """What was found in ``n`` scenes.

    Attributes:
        groups: ``(n, SIZE, SIZE)`` int64, which group every pixel belongs to most.
        names: ``(n, G)`` int64, the class of each group.
    """

    groups: npt.NDArray[np.int64]
    names: npt.NDArray[np.int64]

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The class of every pixel, ``(n, SIZE, SIZE)``."""
        return self.names[np.arange(len(self.names))[:, None, None], self.groups]


def measure(model: GroupViT, scenes: Sequence[Scene]) -> dict[str, float]:
    """mIoU in percent, things and stuff (15) and the stuff names folded to background (11).

    ``"groups_used"`` is how many groups a scene's pixels belong to, in the mean.
    """
    labels = np.stack([scene.label for scene in scenes])
    results: dict[str, float] = {}
    for side in SIDES:
        found = find(model, scenes, side)
        used = float(np.mean([len(np.unique(groups)) for groups in found.groups]))
        results |= both(found.labels, labels, f"{side}px")
        results[f"groups_used_{side}px"] = round(used, 2)
    return results


@torch.inference_mode()
def find(model: GroupViT, scenes: Sequence[Scene], side: int) -> Named:
    """Groups in scenes enlarged to ``side`` pixels, each named by the nearest class."""
    texts = model.embed_queries(NAMES, TEMPLATES)
    places: list[Tensor] = []
    names: list[Tensor] = []
    for start in range(0, len(scenes), _BATCH):
        images = np.stack([scene.image for scene in scenes[start : start + _BATCH]])
        found = model.groups(imagenet_pixels(images, side))
        shares = F.interpolate(found.shares, (SIZE, SIZE), mode="bilinear")
        places.append(shares.argmax(dim=1).cpu())
        names.append((found.vectors @ texts.T).argmax(dim=-1).cpu())
    return Named(torch.cat(places).numpy(), torch.cat(names).numpy())
