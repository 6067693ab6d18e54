"""The miniature DINOv2: ``Dinov2Model`` of transformers."""

from __future__ import annotations

from typing import Any

from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.teaching import distil
from ovbench.toyworld.world import SIZE

STEPS = 4000

MODEL: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "mlp_ratio": 4,
    "image_size": SIZE,
    "patch_size": 8,
}

RECIPE = distil.RECIPE | {"masked_windows": 0.5}

SUPERVISION = (
    f"{distil.SUPERVISION} Some patches are masked, and what they would be must be told from "
    "the others, as in DINOv2's masked prediction (iBOT) and in EVA (Fang et al., CVPR 2023), "
    "which predicts CLIP's features."
)


def train(options: Options) -> None:
    """Train, export to ``options.output`` as ``from_pretrained`` finds it, write the card."""
    distil.train(distil.Miniature("dinov2", build, RECIPE, SUPERVISION), options)


def build() -> Any:
    """An untrained ``Dinov2Model``."""
    from transformers import Dinov2Config, Dinov2Model

    return Dinov2Model(Dinov2Config(**MODEL))
