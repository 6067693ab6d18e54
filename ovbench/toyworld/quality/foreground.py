"""How well a saliency model tells things from the ground they lie on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from ovbench.models.patches.saliency import Saliency
from ovbench.toyworld.quality.inputs import scene_inputs
from ovbench.toyworld.scene import Scene
from ovbench.toyworld.world import SIZE, THINGS

SIDES = (SIZE, 2 * SIZE, 3 * SIZE)
"""Input sizes in pixels: as rendered, and enlarged."""


def measure(model: Saliency, scenes: Sequence[Scene]) -> dict[str, float]:
    """IoU of what is found more probable than not with the union of all things.

    Pixels of all scenes are counted together (``"foreground_iou_..."``), and scene by scene
    (``"mean_scene_iou_..."``); every scene has a thing. Keys end in the input's side.
    """
    truth = np.stack([foreground(scene.label) for scene in scenes])
    results = {}
    for side in SIDES:
        found = np.stack([predict(model, scene, side) for scene in scenes])
        both = (found & truth).sum(axis=(1, 2))
        either = (found | truth).sum(axis=(1, 2))
        results[f"foreground_iou_{side}px"] = round(float(both.sum() / either.sum()), 4)
        results[f"mean_scene_iou_{side}px"] = round(float((both / either).mean()), 4)
    return results


def foreground(label: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """The union of all things, of the label map's shape."""
    return label < len(THINGS)


def predict(model: Saliency, scene: Scene, side: int) -> npt.NDArray[np.bool_]:
    """The scene's foreground ``(SIZE, SIZE)``, found on the scene enlarged to ``side`` pixels."""
    likely = model.predict(scene_inputs(model, [scene], side))[:, None]
    likely = F.interpolate(
        likely, (SIZE, SIZE), mode="bilinear", align_corners=False, antialias=True
    )
    mask: npt.NDArray[np.bool_] = (likely[0, 0] > 0.5).cpu().numpy()
    return mask
