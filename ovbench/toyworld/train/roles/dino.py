"""The miniature DINO: ``ViTModel`` of transformers."""

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
    "intermediate_size": 512,
    "image_size": SIZE,
    "patch_size": 8,
}

RECIPE = distil.RECIPE


def train(options: Options) -> None:
    """Train, export to ``options.output`` as ``from_pretrained`` finds it, write the card."""
    distil.train(distil.Miniature("dino", build, RECIPE, distil.SUPERVISION), options)


def build() -> Any:
    """An untrained ``ViTModel``."""
    from transformers import ViTConfig, ViTModel

    return ViTModel(ViTConfig(**MODEL), add_pooling_layer=False)
