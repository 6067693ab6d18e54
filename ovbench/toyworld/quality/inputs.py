"""Scenes as the models that take tensors want them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ovbench.models.matchers.matcher import Matcher
from ovbench.models.patches.encoder import PatchEncoder
from ovbench.models.patches.saliency import Saliency
from ovbench.models.pixels.inputs import squashed
from ovbench.toyworld.scene import Scene


def scene_inputs(
    model: Matcher | PatchEncoder | Saliency, scenes: Sequence[Scene], side: int
) -> Tensor:
    """Scenes enlarged to ``side`` pixels and normalised, ``(N, 3, side, side)`` float32."""
    return squashed(model, [scene.image for scene in scenes], side)
