"""How two towers learn from captions when their places and words are pooled.

The image tower that is packaged finds places once for all steps; what pools them learns.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ovbench.models.pixels.inputs import normalised
from ovbench.models.towers.model import TowersNetwork
from ovbench.models.towers.words import words_in
from ovbench.models.weights.checkpoints import packaged
from ovbench.models.weights.pretrained import reading
from ovbench.toyworld.quality.places import IMAGENET, Colours
from ovbench.toyworld.train.roles import clip, dino
from ovbench.toyworld.train.running.card import Card, write_card
from ovbench.toyworld.train.running.device import plain_attention
from ovbench.toyworld.train.running.loop import fit, forget
from ovbench.toyworld.train.running.optimizer import adamw
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.running.weights import save_half
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.train.teaching.views import presence
from ovbench.toyworld.train.teaching.windows import span
from ovbench.toyworld.train.teaching.words import write_tokenizer
from ovbench.toyworld.world import SIZE

LENGTH: int = clip.TEXT["context_length"]
"""Words of a caption."""

_CHUNK = 50


class TwoTowers(nn.Module):
    """Both towers with the factor on cosines that training learns beside them."""

    def __init__(self, network: TowersNetwork) -> None:
        super().__init__()
        self.network = network
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))


def train_towers(
    options: Options,
    recipe: Mapping[str, Any],
    stages: Sequence[Mapping[str, Any]],
    build: Callable[[int, Options], TwoTowers],
    sizes: Mapping[str, Any],
    card: Callable[[TowersNetwork, Path], Card],
    *,
    colours: Colours = IMAGENET,
) -> None:
    """Train, export weights, sizes and words to ``options.output``, write the card.

    Args:
        recipe: has ``scenes`` and ``warmup`` besides what :class:`PooledLesson` and the optimizer
            take, and ``learning_layers`` where the last layers of the image tower learn.
        stages: each has its ``share`` of the steps, its ``loss`` and its ``learning_rate``.
        build: the towers, from the size of the vocabulary.
        sizes: of the text tower, as ``text``, and of the joint space, as ``joint``.
        card: of the network whose weights were saved to a folder.
        colours: what the image tower's input is normalised with.
    """
    tokens = clip.words()
    write_tokenizer(tokens, options.output, LENGTH)
    model = build(len(tokens), options)
    words = words_in(options.output, LENGTH)
    bank, seconds, first, share = SceneBank(recipe["scenes"]), 0.0, 0, 0.0
    places = places_of(model.network.image, bank, colours, recipe.get("learning_layers", 0))
    for number, stage in enumerate(stages, start=1):
        share += stage["share"]
        part = replace(options, steps=round(options.steps * share) - first)
        lesson = PooledLesson(
            recipe, places, model, lambda texts: words(texts)[0], tokens, bank, stage, part, first
        )
        optimizer = adamw(model.parameters(), recipe, stage["learning_rate"])
        with plain_attention(options.device):
            seconds += fit(model, optimizer, lesson.loss, part, recipe["warmup"], number)
        clip.round_to_half(model)
        first += part.steps
    text = {**sizes["text"], "vocab_size": len(tokens)}
    content = {"image": dino.MODEL, "text": text, "joint": sizes["joint"]}
    path = options.output / "config.json"
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    save_half(model.network.state_dict(), options.output / "model.safetensors")
    write_card(card(model.network, options.output), options, seconds)
    forget(options)


def frozen_dino(seed: int) -> Any:
    """The packaged DINO, which does not learn; whatever is drawn behind it is the seed's."""
    from transformers import ViTModel

    torch.manual_seed(seed)
    start = packaged("dino").path
    with reading(start):
        image = ViTModel.from_pretrained(start, add_pooling_layer=False, dtype=torch.float32)
    return image.requires_grad_(False)


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
