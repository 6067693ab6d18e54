"""How well a SegGPT paints in a scene what it was shown in another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from ovbench.errors import UsageError
from ovbench.harness.contract.vocabulary import Exemplar
from ovbench.models.seggpt import SegGPT
from ovbench.toyworld.quality.proposals import iou
from ovbench.toyworld.scene import Scene
from ovbench.toyworld.world import NAMES, SIZE, THINGS

THRESHOLD = 128.0
"""Brightness above which a pixel is painted, as the method has it."""


def measure(model: SegGPT, scenes: Sequence[Scene]) -> dict[str, float]:
    """Mean IoU over all classes of all scenes, of things and of grounds.

    A scene's class is shown in the next scene that has it. A class that only one scene has is
    left out.

    Raises:
        UsageError: so few scenes that none shows what another does.
    """
    things: list[float] = []
    grounds: list[float] = []
    for label, name in enumerate(NAMES):
        having = [scene for scene in scenes if name in scene.present]
        if len(having) < 2:
            continue
        for scene, shown in zip(having, [*having[1:], having[0]], strict=True):
            found = iou(paint(model, scene, shown, label), scene.label == label)
            (things if label < len(THINGS) else grounds).append(found)
    if not things or not grounds:
        raise UsageError(f"{len(scenes)} scenes are too few to show one's classes in another")
    return {
        "in_context_iou_things": round(float(np.mean(things)), 4),
        "in_context_iou_stuff": round(float(np.mean(grounds)), 4),
    }


def paint(model: SegGPT, scene: Scene, shown: Scene, label: int) -> npt.NDArray[np.bool_]:
    """What is painted in ``scene`` for the class as another scene shows it, of its shape."""
    prompt = Exemplar(shown.image, shown.label == label)
    brightness = model.paint(model.encode(scene.image), model.encode_prompts([prompt]), "instance")
    bright = (brightness > THRESHOLD).float()[None, None]
    mask: npt.NDArray[np.bool_] = F.interpolate(bright, (SIZE, SIZE))[0, 0].bool().cpu().numpy()
    return mask
