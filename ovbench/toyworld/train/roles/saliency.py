"""The miniature saliency model: FOUND's linear head on the keys of the miniature DINO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.patches.encoder import PatchEncoder, load_patch_encoder
from ovbench.models.patches.saliency import BACKBONE, Saliency, load_head
from ovbench.toyworld.quality.foreground import foreground, measure
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.train.running.card import Card, write_card
from ovbench.toyworld.train.running.loop import fit, forget
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.running.weights import save_half
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.world import SIZE, SPLITS

STEPS = 400

RECIPE: dict[str, Any] = {
    "scenes": 4000,  # of the train split
    "sides": [SIZE, 2 * SIZE, 2 * SIZE, 3 * SIZE],  # pixels, one per step
    "patches": 4608,  # in a batch
    "learning_rate": 2e-2,
    "warmup": 20,
    "schedule": "cosine",
    "gradient_clip": 1.0,
}

SUPERVISION = (
    "Supervision is dense but class-agnostic: the head learns from masks of things against "
    "ground, taken from the label maps of train scenes, and never sees a class. This is where "
    "it differs from FOUND, which finds its masks without labels. The encoder below it is the "
    "miniature DINO, frozen, which was trained without labels; its own card says how."
)

EVALUATED = 200
"""Validation scenes that the card's figures are measured on."""


def train(options: Options) -> None:
    """Train on the packaged miniature DINO, export to ``options.output``, write the card."""
    runtime = Runtime(device=options.device, checkpoints="toy")
    encoder = load_patch_encoder("dino", BACKBONE, runtime)
    torch.manual_seed(options.seed)
    head = nn.Conv2d(encoder.width, 1, kernel_size=1).to(options.device)
    lesson = Lesson(encoder, head, SceneBank(RECIPE["scenes"]), options)
    optimizer = torch.optim.AdamW(head.parameters(), lr=RECIPE["learning_rate"], weight_decay=0)
    seconds = fit(head, optimizer, lesson.loss, options, RECIPE["warmup"])
    weights = export(head, options.output)
    write_card(_card(encoder, weights), options, seconds)
    forget(options)


class Lesson:
    """The loss of one training step, which its number determines."""

    def __init__(
        self, encoder: PatchEncoder, head: nn.Conv2d, bank: SceneBank, options: Options
    ) -> None:
        self.encoder, self.head, self.bank, self.options = encoder, head, bank, options

    def loss(self, step: int) -> Tensor:
        """The cross-entropy of a batch's foreground, pixel by pixel of the scenes."""
        rng = np.random.default_rng([self.options.seed, step])
        side = int(rng.choice(RECIPE["sides"]))
        count = RECIPE["patches"] // (side // self.encoder.patch_size) ** 2
        images, labels = self.bank.take(rng.choice(len(self.bank), count, replace=False))
        pixels = torch.from_numpy(images).to(self.options.device).permute(0, 3, 1, 2).float() / 255
        pixels = F.interpolate(pixels, (side, side), mode="bicubic").clamp(0, 1)
        mean, std = (
            torch.tensor(v, device=pixels.device)[:, None, None]
            for v in (self.encoder.mean, self.encoder.std)
        )
        logits = self.head(self.encoder.features((pixels - mean) / std, facet="key")).float()
        logits = F.interpolate(logits, (SIZE, SIZE), mode="bilinear", align_corners=False)
        truth = torch.from_numpy(foreground(labels)).to(logits)
        return F.binary_cross_entropy_with_logits(logits[:, 0], truth)


def export(head: nn.Conv2d, folder: Path) -> Path:
    """Save the head in half precision; returns the weight file."""
    state = {f"decoder.{name}": value for name, value in head.state_dict().items()}
    return save_half(state, folder / "model.safetensors")


def _card(encoder: PatchEncoder, weights: Path) -> Card:
    """The card, with figures of the head as it is loaded from disk."""
    scenes = [render_scene(seed) for seed in SPLITS["val"][:EVALUATED]]
    figures = measure(Saliency(encoder, load_head(weights.parent), ()), scenes)
    record = encoder.checkpoints[0]
    return Card(
        "saliency",
        f"A 1x1 convolution on the keys of the last attention of `{record.name}`, "
        f"{encoder.width + 1} parameters",
        SUPERVISION,
        RECIPE | {"encoder_sha256": record.sha256},
        {"validation_scenes": EVALUATED} | figures,
        weights,
    )
