"""The miniature CLIPpy: CLIP's lessons, given to the largest place and the mean word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.towers.clippy import MEAN, STD, sentence_t5
from ovbench.models.towers.model import Towers, TowersNetwork
from ovbench.models.towers.words import words_in
from ovbench.models.weights.checkpoints import packaged
from ovbench.toyworld.quality.places import measure
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.train.roles import clip, dino
from ovbench.toyworld.train.roles.pooled.lessons import (
    LENGTH,
    TwoTowers,
    frozen_dino,
    train_towers,
)
from ovbench.toyworld.train.running.card import Card
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.running.weights import millions
from ovbench.toyworld.world import SPLITS

STEPS = 300

STAGES: tuple[dict[str, Any], ...] = (
    {"share": 0.5, "loss": "contrastive", "learning_rate": 2e-3},
    {"share": 0.5, "loss": "sigmoid", "learning_rate": 2e-3},
)
"""As the miniature SimSeg's."""

RECIPE: dict[str, Any] = {
    **{name: clip.RECIPE[name] for name in (
        "partial_captions", "word_dropout", "betas", "weight_decay", "schedule",
        "gradient_clip", "sigmoid_bias",
    )},
    "scenes": 800,  # of the train split
    "windows": [3, 4, 6, 12],  # patches along a side; one per step
    "batch": 96,
    "warmup": 30,
    "learning_layers": 1,  # of the image tower, its last ones
}  # fmt: skip

SUPERVISION = (
    "Supervision is image-level, as the miniature CLIP's: windows of scenes and captions that name "
    "every class in the window, some of them, or one. In every channel the largest place stands "
    "for the window, and the mean word for the caption. The image tower is the packaged miniature "
    "DINO, of which the last layer learns; the text tower learns from nothing. In the real model "
    "both towers learn as a whole, from DINO and from Sentence-T5."
)

TEXT = {
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 256,
    "num_layers": 2,
    "num_heads": 4,
    "dropout_rate": 0.0,
}

EVALUATED = 200
"""Validation scenes that the card's figures are measured on."""


def train(options: Options) -> None:
    """See :func:`~ovbench.toyworld.train.roles.pooled.lessons.train_towers`."""
    sizes = {"text": TEXT, "joint": None}
    train_towers(options, RECIPE, STAGES, build, sizes, _card, colours=(MEAN, STD))


class Grouped(TwoTowers):
    """What stands for pictures and captions: their largest places and mean words."""

    def pool(self, places: Tensor) -> Tensor:
        """What stands for windows of places ``(N, n, width)``, ``(N, d)`` of unit length."""
        image = self.network.image
        for layer in image.layers[-RECIPE["learning_layers"] :]:
            places = layer(places)
        return F.normalize(image.layernorm(places).float().amax(dim=1), dim=-1)

    def encode_text(self, tokens: Tensor, normalize: bool) -> Tensor:
        """What stands for captions, ``(N, d)``; 0 is no word."""
        there = (tokens != 0).float()
        states = self.network.text(input_ids=tokens, attention_mask=there.long())
        weights = there / there.sum(dim=1, keepdim=True)
        mean = torch.einsum("nt,ntd->nd", weights, states.last_hidden_state.float())
        joint: Tensor = self.network.text_projection(mean)
        return F.normalize(joint, dim=-1) if normalize else joint


def build(vocab_size: int, options: Options) -> Grouped:
    """The packaged DINO, its last layers free to learn, and all else drawn from the seed."""
    image = frozen_dino(options.seed)
    for part in (*image.layers[-RECIPE["learning_layers"] :], image.layernorm):
        part.requires_grad_(True)
    network = TowersNetwork(image, sentence_t5(**TEXT, vocab_size=vocab_size), None)
    return Grouped(network).to(options.device).train()


def _card(network: TowersNetwork, folder: Path) -> Card:
    """The card, with figures of the weights as they were saved, which are rounded."""
    words = words_in(folder, LENGTH)
    scenes = [render_scene(seed) for seed in SPLITS["val"][:EVALUATED]]
    record = CheckpointRecord("clippy", "model.safetensors", None, None)
    towers = Towers(network.cpu(), words, "mean", (record,), Runtime(), "dino")
    (start,) = packaged("dino").records
    return Card(
        "clippy",
        f"`ViTModel` and `T5EncoderModel` of transformers, {millions(network)} parameters",
        SUPERVISION,
        RECIPE | {"stages": STAGES, "image": dino.MODEL, "text": TEXT,
                  "start_sha256": start.sha256},
        {"validation_scenes": EVALUATED} | measure(towers, scenes, (MEAN, STD)),
        folder,
    )  # fmt: skip
