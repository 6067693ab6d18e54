"""The archive in which ReCo looks for classes: train scenes as they are, without their labels.

Nothing is learned. A step is a picture.
"""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
from safetensors.numpy import save

from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.train.running.card import Card, write_card
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.world import NAMES, SPLITS

STEPS = 96

FIRST = 9_000_000
"""Of the scenes, far from those that the miniatures learned from first."""


def train(options: Options) -> None:
    """Write ``pictures.safetensors`` and its card."""
    started = time.monotonic()
    first = FIRST + options.seed * STEPS
    scenes = [render_scene(seed) for seed in SPLITS["train"][first : first + options.steps]]
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "pictures.safetensors"
    path.write_bytes(save({"pictures": np.stack([scene.image for scene in scenes])}))
    seen = Counter(name for scene in scenes for name in scene.present)
    card = Card(
        role="reco",
        model=f"An archive of {len(scenes)} pictures, 96x96",
        origin="rendered as train scenes of the embedded world",
        supervision="Nothing is learned. ReCo looks for a class in these pictures by CLIP, as it "
        "does in ImageNet's; their labels are not kept. The table says in how many each class "
        "shows.",
        recipe={"first_scene": first, "pictures": len(scenes)},
        metrics={name: seen[name] for name in NAMES},
        weights=path,
    )
    write_card(card, options, time.monotonic() - started)
