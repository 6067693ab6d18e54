"""The miniature SimSeg: CLIP's lessons, given to the strongest places and words alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.towers.model import Towers, TowersNetwork
from ovbench.models.towers.simseg import bert
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

STEPS = 800

STAGES: tuple[dict[str, Any], ...] = (
    {"share": 0.5, "loss": "contrastive", "learning_rate": 2e-3},
    {"share": 0.5, "loss": "sigmoid", "learning_rate": 2e-3},
)
"""Captions of several classes, then of one; shares are of the steps, rates at their peaks."""

RECIPE: dict[str, Any] = {
    **{name: clip.RECIPE[name] for name in (
        "partial_captions", "word_dropout", "betas", "weight_decay", "schedule",
        "gradient_clip", "sigmoid_bias",
    )},
    "scenes": 2000,  # of the train split
    "windows": [3, 4, 6, 12],  # patches along a side; one per step
    "batch": 160,
    "warmup": 50,
    "pooled": 5,  # places that speak for a picture, in every channel
}  # fmt: skip

SUPERVISION = (
    "Supervision is image-level, as the miniature CLIP's: windows of scenes and captions that name "
    "every class in the window, some of them, or one. In every channel the five largest places "
    "stand for the window, and the largest word for the caption. The image tower is the packaged "
    "miniature DINO as it is; the projections and the text tower learn, from nothing (as in LiT, "
    "Zhai et al., CVPR 2022). In the real model both towers learn, from ImageNet and from BERT."
)

TEXT = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 256,
    "max_position_embeddings": LENGTH,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
JOINT = 64

EVALUATED = 200
"""Validation scenes that the card's figures are measured on."""


def train(options: Options) -> None:
    """See :func:`~ovbench.toyworld.train.roles.pooled.lessons.train_towers`."""
    train_towers(options, RECIPE, STAGES, build, {"text": TEXT, "joint": JOINT}, _card)


class Captioned(TwoTowers):
    """What stands for pictures and captions: their largest places and words."""

    def pool(self, places: Tensor) -> Tensor:
        """What stands for windows of places ``(N, n, width)``, ``(N, d)`` of unit length."""
        joint = self.network.image_projection(places)
        largest = joint.topk(min(RECIPE["pooled"], joint.shape[1]), dim=1).values
        return F.normalize(largest.float().mean(dim=1), dim=-1)

    def encode_text(self, tokens: Tensor, normalize: bool) -> Tensor:
        """What stands for captions, ``(N, d)``; 0 is no word."""
        there = tokens != 0
        states = self.network.text(input_ids=tokens, attention_mask=there.long())
        joint = self.network.text_projection(states.last_hidden_state).float()
        largest = joint.masked_fill(~there[..., None], -torch.inf).amax(dim=1)
        return F.normalize(largest, dim=-1) if normalize else largest


def build(vocab_size: int, options: Options) -> Captioned:
    """The packaged DINO, and all else drawn from the seed."""
    image = frozen_dino(options.seed)
    network = TowersNetwork(image, bert(**TEXT, vocab_size=vocab_size), JOINT)
    return Captioned(network).to(options.device).train()


def _card(network: TowersNetwork, folder: Path) -> Card:
    """The card, with figures of the weights as they were saved, which are rounded."""
    words = words_in(folder, LENGTH)
    scenes = [render_scene(seed) for seed in SPLITS["val"][:EVALUATED]]
    record = CheckpointRecord("simseg", "model.safetensors", None, None)
    figures = measure(Towers(network.cpu(), words, "largest", (record,), Runtime()), scenes)
    (start,) = packaged("dino").records
    return Card(
        "simseg",
        f"`ViTModel` and `BertModel` of transformers, {millions(network)} parameters",
        SUPERVISION,
        RECIPE | {"stages": STAGES, "image": dino.MODEL, "text": TEXT, "joint": JOINT,
                  "start_sha256": start.sha256},
        {"validation_scenes": EVALUATED} | figures,
        folder,
    )  # fmt: skip
