"""The judge of generated pictures: a small network that labels every pixel of a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from ovbench.toyworld.quality.recognition import ROLE, Labeller, load_judge, measure, to_pixels
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.train.running.card import Card, write_card
from ovbench.toyworld.train.running.loop import fit, forget
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.running.weights import millions, save_half
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.world import SIZE, SPLITS

STEPS = 1200

MODEL: dict[str, Any] = {"widths": [24, 48, 64]}

RECIPE: dict[str, Any] = {
    "scenes": 8000,  # of the train split
    "crop_side": 64,
    "crop_batch": 32,
    "whole_share": 0.3,  # of the steps see whole scenes
    "whole_batch": 16,
    "smoothed": 0.7,  # of the batches are shrunk and enlarged again, as an autoencoder smooths
    "shrunk_to": [0.35, 1.0],  # of their side
    "contrast": [0.7, 1.3],
    "brightness": 0.2,
    "noise": 0.05,  # the highest standard deviation, of pixels in -1..1
    "learning_rate": 4e-3,
    "weight_decay": 1e-2,
    "warmup": 50,
    "schedule": "cosine",
    "gradient_clip": 1.0,
}

SUPERVISION = (
    "Supervision is dense: label maps of train scenes. Pictures are smoothed, brightened and made "
    "noisy at random, so that generated ones are judged fairly. It takes no part in any method; "
    "it judges what the miniature Stable Diffusion paints."
)

EVALUATED = 500
"""Validation scenes that the card's figures are measured on."""


def train(options: Options) -> None:
    """Train, export to ``options.output``, write the card."""
    torch.manual_seed(options.seed)
    network = Labeller(**MODEL).to(options.device)
    lesson = Lesson(network, SceneBank(RECIPE["scenes"]), options)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=RECIPE["learning_rate"], weight_decay=RECIPE["weight_decay"]
    )
    seconds = fit(network, optimizer, lesson.loss, options, RECIPE["warmup"])
    weights = export(network, options.output)
    write_card(_card(network, weights), options, seconds)
    forget(options)


class Lesson:
    """The loss of one training step, which its number determines."""

    def __init__(self, network: Labeller, bank: SceneBank, options: Options) -> None:
        self.network, self.bank, self.options = network, bank, options

    def loss(self, step: int) -> Tensor:
        """The cross-entropy of a batch's pixels."""
        rng = np.random.default_rng([self.options.seed, step])
        whole = rng.random() < RECIPE["whole_share"]
        side = SIZE if whole else RECIPE["crop_side"]
        count = RECIPE["whole_batch"] if whole else RECIPE["crop_batch"]
        top, left = (int(place) for place in rng.integers(SIZE - side + 1, size=2))
        images, labels = self.bank.take(rng.choice(len(self.bank), count, replace=False))
        window = slice(None), slice(top, top + side), slice(left, left + side)
        pixels = to_pixels(torch.from_numpy(images[window]).to(self.options.device))
        truth = torch.from_numpy(labels[window]).to(self.options.device).long()
        return F.cross_entropy(self.network(spoil(pixels, rng)).float(), truth)


def spoil(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Smooth a batch as one, then change each picture's contrast, brightness and noise.

    Args:
        pixels: ``(N, 3, H, W)`` in -1..1.

    Returns:
        The same shape and range.
    """
    if rng.random() < RECIPE["smoothed"]:
        side = round(pixels.shape[-1] * rng.uniform(*RECIPE["shrunk_to"]))
        small = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
        pixels = F.interpolate(small, pixels.shape[-2:], mode="bicubic")
    contrast, light, level = (
        torch.from_numpy(rng.uniform(low, high, (len(pixels), 1, 1, 1))).to(pixels)
        for low, high in (
            RECIPE["contrast"],
            (-RECIPE["brightness"], RECIPE["brightness"]),
            (0, RECIPE["noise"]),
        )
    )
    noise = torch.from_numpy(rng.standard_normal(pixels.shape, np.float32)).to(pixels)
    return (pixels * contrast + light + level * noise).clamp(-1, 1)


def export(network: Labeller, folder: Path) -> Path:
    """Save in half precision; returns the weight file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(MODEL) + "\n", encoding="utf-8")
    return save_half(network.state_dict(), folder / "model.safetensors")


def _card(network: Labeller, weights: Path) -> Card:
    """The card, with figures of the network as it is loaded from disk."""
    scenes = [render_scene(seed) for seed in SPLITS["val"][:EVALUATED]]
    return Card(
        ROLE,
        f"A fully convolutional network that labels every pixel, {millions(network)} parameters",
        SUPERVISION,
        RECIPE | MODEL,
        {"validation_scenes": EVALUATED} | measure(load_judge(weights.parent), scenes),
        weights,
    )
