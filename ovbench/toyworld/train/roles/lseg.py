"""The miniature LSeg: its neck on the miniature DINO, drawn to texts of the miniature CLIP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.clip.model import load_clip
from ovbench.models.patches.encoder import PatchEncoder
from ovbench.models.pixelwise.lseg import ROLE, load_backbone, quarters, read_folder
from ovbench.models.pixelwise.neck import Neck, Sizes
from ovbench.models.weights.checkpoints import Located
from ovbench.toyworld.quality import pixelwise
from ovbench.toyworld.quality.inputs import imagenet_pixels
from ovbench.toyworld.quality.pixelwise import TEMPLATES
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.train.running.card import Card, write_card
from ovbench.toyworld.train.running.loop import fit, forget
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.running.weights import millions, save_half
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.world import NAMES, SIZE, SPLITS

STEPS = 160

SIDE = 96
"""What it says that it was trained on, in pixels: the largest of the sides below."""

MODEL: dict[str, Any] = {"channels": (16, 24, 32, 32), "fused": 16}

RECIPE: dict[str, Any] = {
    "scenes": 4000,  # of the train split
    "sides": [64, 96, 96],  # pixels, one per step
    "patches": 576,  # in a batch
    "mirrored": 0.5,  # of the scenes
    "scale": 14.2857,  # factor on cosines, as the released code has it
    "learning_rate": 4e-3,
    "weight_decay": 1e-2,
    "warmup": 15,
    "schedule": "cosine",
    "gradient_clip": 1.0,
}

SUPERVISION = (
    "Supervision is dense: label maps of train scenes, and the names of all their classes, things "
    "and stuff, as the miniature CLIP embeds them. Only the neck learns; CLIP and the miniature "
    "DINO below it stay as they are, where the released model trains its backbone as well."
)

EVALUATED = 200
"""Validation scenes that the card's figures are measured on."""


def train(options: Options) -> None:
    """Train on the packaged miniatures, export to ``options.output``, write the card."""
    runtime = Runtime(device=options.device, checkpoints="toy")
    encoder, clip = load_backbone(runtime), load_clip("ViT-B-32", "openai", runtime)
    texts = clip.embed_queries(NAMES, TEMPLATES).clone()
    torch.manual_seed(options.seed)
    neck = Neck(Sizes(encoder.width, **MODEL, joint=texts.shape[1])).to(options.device).train()
    lesson = Lesson(encoder, neck, texts, SceneBank(RECIPE["scenes"]), options)
    optimizer = torch.optim.AdamW(
        neck.parameters(), lr=RECIPE["learning_rate"], weight_decay=RECIPE["weight_decay"]
    )
    seconds = fit(neck, optimizer, lesson.loss, options, RECIPE["warmup"])
    weights = export(neck, encoder.width, options.output)
    write_card(_card(neck, texts, runtime, weights), options, seconds)
    forget(options)


class Lesson:
    """The loss of one training step, which its number determines."""

    def __init__(
        self, encoder: PatchEncoder, neck: Neck, texts: Tensor, bank: SceneBank, options: Options
    ) -> None:
        self.encoder, self.neck, self.texts, self.bank = encoder, neck, texts, bank
        self.options, self.readings = options, quarters(encoder)

    def loss(self, step: int) -> Tensor:
        """The cross-entropy of a batch's labels, pixel by pixel of the scenes."""
        rng = np.random.default_rng([self.options.seed, step])
        side = int(rng.choice(RECIPE["sides"]))
        count = RECIPE["patches"] // (side // self.encoder.patch_size) ** 2
        images, labels = self.bank.take(rng.choice(len(self.bank), count, replace=False))
        mirrored = rng.random(count) < RECIPE["mirrored"]
        for pixels in (images, labels):  # copies
            pixels[mirrored] = pixels[mirrored, :, ::-1]
        inputs = imagenet_pixels(images, side).to(self.options.device)
        vectors = F.normalize(self.neck(self.encoder.read(inputs, *self.readings)), dim=1)
        logits = RECIPE["scale"] * torch.einsum("qd,bdhw->bqhw", self.texts, vectors)
        logits = F.interpolate(logits, (SIZE, SIZE), mode="bilinear", align_corners=True)
        return F.cross_entropy(logits, torch.from_numpy(labels).to(self.options.device).long())


def export(neck: Neck, width: int, folder: Path) -> Path:
    """Save the neck in half precision; returns the weight file."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"width": width, **MODEL, "joint": neck.to_text.out_channels, "side": SIDE}
    (folder / "config.json").write_text(json.dumps(config) + "\n", encoding="utf-8")
    return save_half(neck.state_dict(), folder / "model.safetensors")


def _card(neck: Neck, texts: Tensor, runtime: Runtime, weights: Path) -> Card:
    """The card, with figures of the neck as it is loaded from disk."""
    scenes = [render_scene(seed) for seed in SPLITS["val"][:EVALUATED]]
    model = read_folder(Located(weights.parent, ()), runtime)
    record = model.checkpoints[0]
    return Card(
        ROLE,
        f"LSeg's neck on four blocks of `{record.name}`, {millions(neck)} parameters",
        SUPERVISION,
        RECIPE | MODEL | {"encoder_sha256": record.sha256},
        {"validation_scenes": EVALUATED} | pixelwise.measure(model, texts, scenes),
        weights,
    )
