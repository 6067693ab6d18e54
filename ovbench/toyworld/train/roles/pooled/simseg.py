"""The miniature SimSeg: CLIP's lessons, given to the strongest places and words alone."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.pixels.inputs import normalised
from ovbench.models.towers.model import Towers, TowersNetwork
from ovbench.models.towers.simseg import bert
from ovbench.models.towers.words import words_in
from ovbench.models.weights.checkpoints import packaged
from ovbench.models.weights.pretrained import reading
from ovbench.toyworld.quality.places import IMAGENET, Colours, measure
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.train.roles import clip, dino
from ovbench.toyworld.train.running.card import Card, write_card
from ovbench.toyworld.train.running.device import plain_attention
from ovbench.toyworld.train.running.loop import fit, forget
from ovbench.toyworld.train.running.optimizer import adamw
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.running.weights import millions, save_half
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.train.teaching.views import presence
from ovbench.toyworld.train.teaching.windows import span
from ovbench.toyworld.train.teaching.words import write_tokenizer
from ovbench.toyworld.world import SIZE, SPLITS

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

LENGTH: int = clip.TEXT["context_length"]
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

_CHUNK = 50


def train(options: Options) -> None:
    """Train, export weights, sizes and words to ``options.output``, write the card."""
    tokens = clip.words()
    write_tokenizer(tokens, options.output, LENGTH)
    model = build(len(tokens), options)
    words = words_in(options.output, LENGTH)
    bank, seconds, first, share = SceneBank(RECIPE["scenes"]), 0.0, 0, 0.0
    places = places_of(model.network.image, bank)
    for number, stage in enumerate(STAGES, start=1):
        share += stage["share"]
        part = replace(options, steps=round(options.steps * share) - first)
        lesson = PooledLesson(
            RECIPE, places, model, lambda texts: words(texts)[0], tokens, bank, stage, part, first
        )
        optimizer = adamw(model.parameters(), RECIPE, stage["learning_rate"])
        with plain_attention(options.device):
            seconds += fit(model, optimizer, lesson.loss, part, RECIPE["warmup"], number)
        clip.round_to_half(model)
        first += part.steps
    sizes = {"image": dino.MODEL, "text": {**TEXT, "vocab_size": len(tokens)}, "joint": JOINT}
    path = options.output / "config.json"
    path.write_text(json.dumps(sizes, indent=2) + "\n", encoding="utf-8")
    save_half(model.network.state_dict(), options.output / "model.safetensors")
    write_card(_card(model.network, options.output), options, seconds)
    forget(options)


class Captioned(nn.Module):
    """Both towers with the factor on cosines that training learns beside them."""

    def __init__(self, network: TowersNetwork) -> None:
        super().__init__()
        self.network = network
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

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


class PooledLesson(clip.Lesson):
    """CLIP's lesson with pooled places, which are kept: the tower that finds them is frozen.

    Attributes:
        places: of all scenes, from :func:`places_of`.
    """

    def __init__(self, recipe: Mapping[str, Any], places: Tensor, *lesson: Any) -> None:
        """What :class:`~ovbench.toyworld.train.roles.clip.Lesson` takes stands behind places.

        Args:
            recipe: has ``windows``, in patches along a side, and ``batch``.
        """
        super().__init__(*lesson)
        self.recipe, self.places = recipe, places

    def loss(self, step: int) -> Tensor:
        """How badly captions and windows of a fresh batch find each other."""
        rng = np.random.default_rng([self.options.seed, self.first + step])
        side = int(rng.choice(self.recipe["windows"]))
        indices = rng.choice(len(self.bank), self.recipe["batch"], replace=False)
        cells = self.places.shape[1]
        rows, columns = (span(int(at), side) for at in rng.integers(cells - side + 1, size=2))
        window = self.places[torch.from_numpy(indices), rows, columns].flatten(1, 2)
        image = self.model.pool(window.to(self.options.device).float())
        cell = SIZE // cells
        pixels = (span(cell * part.start, cell * side) for part in (rows, columns))
        present = presence(self.bank.take(indices)[1][(slice(None), *pixels)])
        if self.stage["loss"] == "sigmoid":
            return self._sigmoid(image, present, rng)
        return self._contrastive(image, present, rng)


@torch.no_grad()
def places_of(
    tower: Any, bank: SceneBank, colours: Colours = IMAGENET, learning: int = 0
) -> Tensor:
    """A frozen tower's patches of all scenes, ``(N, h, w, width)`` float16 on the CPU.

    Args:
        colours: what the tower's input is normalised with.
        learning: the last layers that are not frozen: patches are as they enter these.
    """
    device, side = next(tower.parameters()).device, SIZE // tower.config.patch_size
    found = []
    for start in range(0, len(bank), _CHUNK):
        images, _ = bank.take(np.arange(start, min(start + _CHUNK, len(bank))))
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
        pixels = normalised(pixels, *colours).to(device)
        states = tower(pixels, output_hidden_states=True)
        last = states.hidden_states[-1 - learning] if learning else states.last_hidden_state
        patches = last[:, 1:]
        found.append(patches.unflatten(1, (side, side)).half().cpu())
    return torch.cat(found)


def build(vocab_size: int, options: Options) -> Captioned:
    """The packaged DINO, and all else drawn from the seed."""
    from transformers import ViTModel

    torch.manual_seed(options.seed)
    start = packaged("dino").path
    with reading(start):
        image = ViTModel.from_pretrained(start, add_pooling_layer=False, dtype=torch.float32)
    image.requires_grad_(False)
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
