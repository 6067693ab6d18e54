"""The miniature GroupViT: transformers' ``GroupViTModel``, built small.

Xu et al. (CVPR 2022), on captions and on what the packaged miniature CLIP, which had captions
alone, says of patches.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import open_clip
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.clip.model import CLIP, load_clip
from ovbench.models.grouping.groupvit import GroupViT, grouped, load_folder
from ovbench.models.weights.checkpoints import packaged
from ovbench.toyworld.captions import caption
from ovbench.toyworld.quality.grouping import SIDES, find, measure
from ovbench.toyworld.quality.inputs import imagenet_pixels
from ovbench.toyworld.quality.localisation import miou
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.train.roles.clip import TEXT, name_some, words
from ovbench.toyworld.train.running.card import Card, write_card
from ovbench.toyworld.train.running.loop import fit, forget
from ovbench.toyworld.train.running.optimizer import adamw
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.train.teaching.from_clip import calibrate_text, start_from_clip
from ovbench.toyworld.train.teaching.patch_labels import PatchLabels
from ovbench.toyworld.train.teaching.views import presence
from ovbench.toyworld.train.teaching.windows import Window, draw_window, span
from ovbench.toyworld.train.teaching.words import write_tokenizer
from ovbench.toyworld.world import NAMES, SIZE, SPLITS, THINGS

STEPS = 360

VISION: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "depths": [3, 1],
    "num_group_tokens": [8, 0],
    "num_output_groups": [8, 8],
    "num_attention_heads": 4,
    "image_size": SIZE,
    "patch_size": 8,
}

RECIPE: dict[str, Any] = {
    "scenes": 2400,  # of the train split
    "windows": [  # side in pixels and by how much it is enlarged; one per step
        (96, 1.0),
        (96, 1.0),
        (96, 1.0),
        (48, 2.0),
        (96, 2.0),
    ],
    "patches": 9216,  # in a batch
    "patch_dropout": 0.5,  # except in the last steps
    "last_share": 0.2,
    "caption_weight": 1.0,
    "word_weight": 0.5,
    "affinity_weight": 4.0,
    "label_weight": 2.0,
    "background_weight": 0.3,
    "learning_rate": 7e-4,
    "betas": [0.9, 0.98],
    "weight_decay": 0.05,
    "warmup": 50,
    "schedule": "cosine",
    "gradient_clip": 1.0,
    "scored_on": 60,  # other scenes of the train split; the best of the saved states is kept
}

SAVE_EVERY = 60
"""Steps between two saved states at most, each of which is scored."""

SUPERVISION = (
    "Supervision is image-level: captions that name the classes of a picture, or some of them. It "
    "starts from the packaged miniature CLIP, which had the same, and has that CLIP's patches for "
    "a teacher (MaskCLIP's values, the nearest of the classes that the picture's caption names): "
    "two patches belong together if their labels agree, and a group is named as its patches are. "
    "The real model learns to group from captions alone, on 26 million pictures. Which classes are "
    "in a picture is read off its label map, as for the captions; where they are is not."
)

EVALUATED = 200
"""Validation scenes that the card's figures are measured on."""


def train(options: Options) -> None:
    """Train, export to ``options.output`` as ``from_pretrained`` finds it, write the card."""
    torch.manual_seed(options.seed)
    options = replace(options, save_every=min(options.save_every, SAVE_EVERY))
    clip = load_clip("ViT-B-16", "openai", Runtime(device=options.device, checkpoints="toy"))
    bank = SceneBank(RECIPE["scenes"])
    model, tokenizer = build(), packaged_tokenizer()
    model.to(options.device)
    start(model, clip, bank, tokenizer)
    model.train()
    lesson = Lesson(model, tokenizer, bank, PatchLabels(clip, bank), options)
    optimizer = adamw(model.parameters(), RECIPE, RECIPE["learning_rate"])
    score = Score(model, tokenizer)
    seconds = fit(model, optimizer, lesson.loss, options, RECIPE["warmup"], score=score)
    export(model, options.output)
    write_card(_card(options.output, clip), options, seconds)
    forget(options)


def build() -> Any:
    """An untrained model, with the words of the captions."""
    from transformers import GroupViTConfig, GroupViTModel

    vocabulary = len(words())
    text = {
        "vocab_size": vocabulary,
        "hidden_size": TEXT["width"],
        "intermediate_size": 4 * TEXT["width"],
        "num_hidden_layers": TEXT["layers"],
        "num_attention_heads": TEXT["heads"],
        "max_position_embeddings": TEXT["context_length"],
        "hidden_act": "gelu",
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": vocabulary - 1,
    }
    config = GroupViTConfig(
        text_config=text, vision_config=VISION, projection_dim=64, projection_intermediate_dim=128
    )
    return GroupViTModel(config)


def packaged_tokenizer() -> Any:
    """The miniature CLIP's, whose words these are too."""
    return open_clip.get_tokenizer(f"local-dir:{packaged('clip').path}")


def start(model: Any, clip: CLIP, bank: SceneBank, tokenizer: Any) -> None:
    """Give the model CLIP's weights; what both read differently is measured on a few scenes."""
    folder = packaged("clip").path
    images, labels = bank.take(np.arange(min(100, len(bank))))
    device = next(model.parameters()).device
    text = open_clip.create_model(f"local-dir:{folder}").to(device)
    model.eval()
    start_from_clip(model, clip, text, imagenet_pixels(images, SIZE).to(device))
    rng = np.random.default_rng(0)
    calibrate_text(model, _tokens(presence(labels), tokenizer, rng).to(device))


class Seen(NamedTuple):
    """What the model finds in a batch: as :func:`grouped`, of unit length, without logs."""

    groups: Tensor
    image: Tensor
    shares: Tensor


class Lesson:
    """The loss of one training step, which its number determines."""

    def __init__(
        self, model: Any, tokenizer: Any, bank: SceneBank, teacher: PatchLabels, options: Options
    ) -> None:
        self.model, self.tokenizer, self.bank = model, tokenizer, bank
        self.teacher, self.options = teacher, options

    def loss(self, step: int) -> Tensor:
        """Captions that are not found, and patches that are grouped or named otherwise."""
        recipe, rng = RECIPE, np.random.default_rng([self.options.seed, step])
        window = draw_window(recipe["windows"], SIZE // self.teacher.grid, rng)
        side = round(window.side * window.zoom) // VISION["patch_size"]
        indices = rng.choice(len(self.bank), recipe["patches"] // side**2, replace=False)
        images, labels = self.bank.take(indices)
        cut = span(window.top, window.side), span(window.left, window.side)
        present = presence(np.ascontiguousarray(labels[:, *cut]))
        shown = present.any(axis=1)  # what is left of a class may be too little to be named
        patches, taught = (
            self._embedded(images[:, *cut], window),
            self.teacher.of(indices, window, side, present),
        )
        if step < self.options.steps * (1 - recipe["last_share"]):
            count = round(side**2 * (1 - recipe["patch_dropout"]))
            kept = torch.from_numpy(rng.permutation(side**2)[:count])
            patches, taught = patches[:, kept], taught[:, kept]
        chosen = torch.from_numpy(shown)
        joint, shares = grouped(self.model, patches[chosen])
        with torch.autocast(joint.device.type, enabled=False):
            unit = F.normalize(joint.float(), dim=-1)
            seen = Seen(unit[:, :-1], unit[:, -1], shares)
            return self._weighed(seen, taught[chosen].to(joint.device), present[shown], rng)

    def _weighed(
        self,
        seen: Seen,
        taught: Tensor,
        present: npt.NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> Tensor:
        recipe = RECIPE
        scale = self.model.logit_scale.exp().clamp(max=100)
        named = name_some(present, rng)
        texts = self._embed(_tokens(named, self.tokenizer, rng))
        each = self._embed(_tokens(np.eye(len(NAMES), dtype=bool), self.tokenizer, rng))
        true = torch.from_numpy((named <= present[:, None]).all(axis=-1)).to(texts)
        there = torch.from_numpy(present).to(texts)
        onehot = F.one_hot(taught, len(NAMES)).to(texts)
        logits = scale * seen.groups @ each.T
        total: Tensor = (
            recipe["caption_weight"] * caption_loss(scale * seen.image @ texts.T, true)
            + recipe["word_weight"]
            * F.cross_entropy(scale * seen.image @ each.T, there / there.sum(dim=1, keepdim=True))
            + recipe["affinity_weight"] * affinity_loss(seen.shares, taught)
            + recipe["label_weight"] * label_loss(logits, seen.shares, onehot)
            + recipe["background_weight"] * background_loss(logits, seen.shares, onehot)
        )
        return total

    def _embed(self, tokens: Tensor) -> Tensor:
        features = self.model.get_text_features(tokens.to(self.options.device)).pooler_output
        return F.normalize(features.float(), dim=-1)

    def _embedded(self, images: npt.NDArray[np.uint8], window: Window) -> Tensor:
        """A window's patches, each with the position that it has in the enlarged scene."""
        side, whole = round(window.side * window.zoom), round(SIZE * window.zoom)
        pixels = imagenet_pixels(np.ascontiguousarray(images), side).to(self.options.device)
        own, patch = self.model.vision_model.embeddings, VISION["patch_size"]
        patches = own.layernorm(own.patch_embeddings(pixels, interpolate_pos_encoding=True))
        grid = whole // patch
        nothing = patches.new_empty(1, grid**2, patches.shape[-1])
        places = own.interpolate_pos_encoding(nothing, whole, whole).unflatten(1, (grid, grid))
        row, column = (round(at * window.zoom) // patch for at in (window.top, window.left))
        here = places[:, span(row, side // patch), span(column, side // patch)]
        embedded: Tensor = patches + here.flatten(1, 2)
        return embedded


def caption_loss(logits: Tensor, true: Tensor) -> Tensor:
    """Symmetric cross-entropy; every caption that is true of a picture is a right answer.

    Args:
        logits, true: ``(pictures, captions)``.
    """
    by_image = F.cross_entropy(logits, true / true.sum(dim=1, keepdim=True))
    by_text = F.cross_entropy(logits.T, (true / true.sum(dim=0)).T)
    return (by_image + by_text) / 2


def affinity_loss(shares: Tensor, taught: Tensor) -> Tensor:
    """Two patches share a group just if their labels agree.

    Args:
        shares: ``(B, G, n)``, sums of 1 over groups.
        taught: ``(B, n)``.
    """
    together = (shares.mT @ shares).clamp(1e-4, 1 - 1e-4)
    agree = (taught[:, :, None] == taught[:, None]).to(together)
    return F.binary_cross_entropy(together, agree)


def label_loss(logits: Tensor, shares: Tensor, labels: Tensor) -> Tensor:
    """A group is named as its patches are labelled; groups count by what they hold.

    Args:
        logits: ``(B, G, 15)``.
        shares: ``(B, G, n)``.
        labels: ``(B, n, 15)``, one of 15.
    """
    held = (shares @ labels).detach()
    return -(held * logits.log_softmax(dim=-1)).sum() / held.sum()


def background_loss(logits: Tensor, shares: Tensor, labels: Tensor) -> Tensor:
    """Among things alone, a group of stuff is none of them; as :func:`label_loss`."""
    things = len(THINGS)
    stuff = (shares @ labels[..., things:].sum(dim=-1, keepdim=True)).detach()[..., 0]
    mostly = stuff * (stuff > 0.5 * shares.sum(dim=-1)).to(stuff)
    uniform = -logits[..., :things].log_softmax(dim=-1).mean(dim=-1)
    return (mostly * uniform).sum() / mostly.sum().clamp(min=1e-6)


class Score:
    """mIoU on scenes of the train split that the lesson does not have."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        first: int = RECIPE["scenes"]
        seeds = SPLITS["train"][first : first + RECIPE["scored_on"]]
        self.scenes = [render_scene(seed) for seed in seeds]

    def __call__(self) -> float:
        frozen = GroupViT(copy.deepcopy(self.model), (), Runtime(), self.tokenizer)
        labels = np.stack([scene.label for scene in self.scenes])
        found = [find(frozen, self.scenes, side).labels for side in SIDES]
        return float(np.mean([miou(guesses, labels, len(NAMES)) for guesses in found]))


def _tokens(present: npt.NDArray[np.bool_], tokenizer: Any, rng: np.random.Generator) -> Tensor:
    names = [[NAMES[i] for i in np.flatnonzero(row)] for row in present]
    tokens: Tensor = tokenizer([caption(each, rng) for each in names])
    return tokens


def export(model: Any, folder: Path) -> None:
    """Save in half precision, with the tokenizer."""
    copy.deepcopy(model).cpu().half().save_pretrained(folder)
    write_tokenizer(words(), folder, TEXT["context_length"])


def _card(folder: Path, clip: CLIP) -> Card:
    """The card, with figures of the checkpoint as it is loaded from disk."""
    model = load_folder(folder, (), Runtime())
    scenes = [render_scene(seed) for seed in SPLITS["val"][:EVALUATED]]
    return Card(
        "groupvit",
        f"`GroupViTModel` of transformers, {VISION['num_hidden_layers']} layers of width "
        f"{VISION['hidden_size']} with patch {VISION['patch_size']} and 8 groups",
        SUPERVISION,
        RECIPE | {"start_sha256": clip.checkpoint.sha256, "vision": VISION},
        {"validation_scenes": EVALUATED} | measure(model, scenes),
        folder,
    )
