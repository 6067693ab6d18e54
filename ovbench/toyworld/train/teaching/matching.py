"""What a miniature image-text matcher learns from: pictures, and texts true of them or not.

All supervision is image-level: the classes that a picture shows, as its caption says them.
"""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.matchers.matcher import Matcher, Normalisation
from ovbench.toyworld.captions import SINGLE, caption, vocabulary_texts
from ovbench.toyworld.quality.matching import measure
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.train.roles.clip import MEAN, STD, normalize
from ovbench.toyworld.train.running.card import Card
from ovbench.toyworld.train.running.device import plain_attention
from ovbench.toyworld.train.running.loop import fit
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.train.teaching.views import HIDDEN, presence
from ovbench.toyworld.train.teaching.words import vocabulary, write_tokenizer
from ovbench.toyworld.world import NAMES, SIZE, SPLITS

PATCH = 8
"""Pixels per patch of every matcher's image tower."""

RECIPE: dict[str, Any] = {
    "crop_share": 0.5,  # of the steps see crops, the others whole scenes
    "crop_side": 48,
    "crop_batch": 64,
    "whole_batch": 24,
    "darkened_share": 0.4,  # of the pictures lose patches to black, as in Salience DropOut
    "darkened": [0.1, 0.75],  # of their patches
    "class_token_hidden": 0.5,  # of the pictures: texts then attend to patches alone
    "fewest_listed": 6,  # classes in a list; at most all
    "presence": 0.5,  # weight of: is a listed class in the picture?
    "ranking": 0.5,  # weight of: which of two lists names more of the picture?
    "scenes": 16_000,  # of the train split
    "learning_rate": 1e-3,  # at its peak
    "tower_learning_rate": 4e-4,  # of the image tower, which starts from the miniature CLIP's
    "betas": [0.9, 0.98],
    "weight_decay": 0.05,
    "warmup": 100,
    "schedule": "cosine",
    "gradient_clip": 1.0,
}

SUPERVISION = (
    "Supervision is image-level: pictures and which classes they show, asked for by captions "
    "that are true or have one word swapped, and by lists of classes. Half of the pictures are "
    "crops and some are partly blackened; which classes each still shows is counted from its "
    "part of the label map, which is more exact than captions of whole scenes. The image tower "
    "starts "
    "from the miniature CLIP, which learned from captions. One loss acts on the attention "
    "itself: over a picture's patches, the softened maximum of a class word's attention scores "
    "in one layer must tell whether the class is there (multiple-instance learning). So this "
    "miniature is drawn to localise by attention, though no loss says where in a picture "
    "anything is; the real model finds that by itself."
)

PREFIX = "a picture of"
"""Begins every list of classes, as in PnP-OVSS."""

EVALUATED = 200
"""Validation scenes that a card's figures are measured on."""

FIRST_WORD = 1 + len(PREFIX.split())
"""The position of a list's first class: behind the start token and the prefix."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """A batch of pictures.

    Attributes:
        pixels: ``(B, side, side, 3)`` uint8.
        present: ``(B, 15)`` bool, what can be seen in each.
        corner: top and left in their scenes, in patches.
    """

    pixels: npt.NDArray[np.uint8]
    present: npt.NDArray[np.bool_]
    corner: tuple[int, int]


def draw_pictures(bank: SceneBank, rng: np.random.Generator) -> Pictures:
    """Crops or whole scenes, some with patches blackened."""
    crop = rng.random() < RECIPE["crop_share"]
    side = RECIPE["crop_side"] if crop else SIZE
    count = RECIPE["crop_batch"] if crop else RECIPE["whole_batch"]
    top, left = (int(at) for at in rng.integers((SIZE - side) // PATCH + 1, size=2))
    window = slice(top * PATCH, top * PATCH + side), slice(left * PATCH, left * PATCH + side)
    images, labels = bank.take(rng.choice(len(bank), count, replace=False))
    images, labels = images[:, *window].copy(), labels[:, *window].copy()
    hidden = _hidden(count, side // PATCH, rng)
    images[hidden] = 0
    seen = np.where(hidden, np.uint8(HIDDEN), labels)
    return Pictures(images, presence(seen), (top, left))


def _hidden(count: int, grid: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    least, most = RECIPE["darkened"]
    share = rng.uniform(least, most, size=count)
    share *= rng.random(count) < RECIPE["darkened_share"]
    patches = rng.random((count, grid, grid)) < share[:, None, None]
    return patches.repeat(PATCH, axis=1).repeat(PATCH, axis=2)


@dataclass(frozen=True, slots=True)
class Questions:
    """Texts about each picture of a batch, and whether they are true of it.

    Attributes:
        texts: T for each of B pictures, picture by picture.
        true: ``(B, T)`` float32.
    """

    texts: list[str]
    true: Tensor


def ask_for_one(present: npt.NDArray[np.bool_], rng: np.random.Generator) -> Questions:
    """Two texts a picture that name one class: one that is there, one that is not."""
    texts, true = [], []
    for row in present:
        there, absent = np.flatnonzero(row), np.flatnonzero(~row)
        for classes in (there, absent):
            chosen = classes if len(classes) else absent
            name = NAMES[rng.choice(chosen)]
            texts.append(SINGLE[rng.integers(len(SINGLE))].format(name))
            true.append(float(chosen is there))
    return Questions(texts, torch.tensor(true).reshape(-1, 2))


def ask_for_all(present: npt.NDArray[np.bool_], rng: np.random.Generator) -> Questions:
    """Two texts a picture: its caption, and the same with one class swapped for an absent one."""
    texts, true = [], []
    for row in present:
        named, absent = np.flatnonzero(row), np.flatnonzero(~row)
        if not len(named):
            named = rng.choice(absent, 1)
        text = caption([NAMES[i] for i in named], rng)
        old, new = NAMES[rng.choice(named)], NAMES[rng.choice(np.setdiff1d(absent, named))]
        texts += [text, re.sub(rf"\b{old}\b", new, text)]
        true += [float(row[named].all()), 0.0]
    return Questions(texts, torch.tensor(true).reshape(-1, 2))


@dataclass(frozen=True, slots=True)
class Lists:
    """Two prompts a picture that list classes, there or not, as PnP-OVSS prompts do.

    Attributes:
        texts: two for each of B pictures, picture by picture.
        classes: ``(2 B, 15)`` indices of the listed classes in their order, -1 behind the last.
        right: ``(B, 2)`` the number of listed classes that are in the picture.
    """

    texts: list[str]
    classes: Tensor
    right: Tensor


def draw_lists(present: npt.NDArray[np.bool_], rng: np.random.Generator) -> Lists:
    """Any classes in any order, from :data:`RECIPE`'s fewest to all of them."""
    texts, right = [], []
    classes = torch.full((2 * len(present), len(NAMES)), -1)
    for i in range(2 * len(present)):
        count = int(rng.integers(RECIPE["fewest_listed"], len(NAMES) + 1))
        chosen = rng.permutation(len(NAMES))[:count]
        classes[i, :count] = torch.from_numpy(chosen)
        texts.append(" ".join((PREFIX, *(NAMES[c] for c in chosen))))
        right.append(present[i // 2, chosen].sum())
    return Lists(texts, classes, torch.tensor(right).reshape(-1, 2))


class Learner(nn.Module, ABC):
    """A matcher in training.

    Args:
        model: the transformers model.
        taught: the text-to-image attention that the presence loss acts on; it has ``query`` and
            ``key`` and is called with the keyword ``encoder_hidden_states``.
    """

    def __init__(self, model: Any, taught: Any) -> None:
        super().__init__()
        self.model = model
        self.calibration = nn.Parameter(torch.tensor([4.0, -1.0]))
        """Slope and offset from pooled attention scores to the logit of presence."""
        self._taught = (taught,)  # a tuple, so that its weights are not registered twice
        taught.register_forward_pre_hook(self._remember, with_kwargs=True)
        self._words: Tensor
        self._places: Tensor

    def _remember(self, _: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._words, self._places = inputs[0], named["encoder_hidden_states"]

    @abstractmethod
    def encode(self, pixels: Tensor, corner: tuple[int, int]) -> Tensor:
        """Tokens of windows of scenes, ``(B, 1 + h w, d)``, the class token first.

        Args:
            pixels: ``(B, 3, side, side)``, normalised.
            corner: top and left of the windows, in patches.
        """

    @abstractmethod
    def match(self, images: Tensor, seen: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Logits ``(B T, 2)`` for T texts per picture.

        Args:
            images: from :meth:`encode`.
            seen: ``(B, 1 + h w)``, 0 for image tokens that must not be attended to.
            ids, mask: ``(B T, n)``, picture by picture.
        """

    def presence(self) -> Tensor:
        """Logits that a class is there, for each place of the latest lists: ``(2 B, 15)``.

        A softened maximum over the patches, so that one place is enough.
        """
        pooled = self._scores().logsumexp(dim=-1).mean(dim=1)
        pooled = pooled - math.log(self._places.shape[1] - 1)
        words = F.pad(pooled, (0, len(NAMES)))[:, FIRST_WORD : FIRST_WORD + len(NAMES)]
        logits: Tensor = self.calibration[0] * words + self.calibration[1]
        return logits

    def _scores(self) -> Tensor:
        """Attention scores before the softmax, ``(texts, heads, tokens, h w)`` float32."""
        (taught,) = self._taught
        query, key = (
            layer(x).unflatten(-1, (taught.num_attention_heads, -1)).transpose(1, 2)
            for layer, x in ((taught.query, self._words), (taught.key, self._places[:, 1:]))
        )
        scores: Tensor = query @ key.mT / query.shape[-1] ** 0.5
        return scores.float()


class Lesson:
    """The loss of one training step, which its number determines."""

    def __init__(
        self, learner: Learner, tokenizer: Any, bank: SceneBank, start: int, options: Options
    ) -> None:
        """``start`` is the id of the token that stands first in a text to be matched."""
        self.learner, self.tokenizer, self.bank = learner, tokenizer, bank
        self.start, self.options = start, options

    def loss(self, step: int) -> Tensor:
        """How wrong the answers are about a fresh batch of pictures."""
        rng = np.random.default_rng([self.options.seed, step])
        pictures = draw_pictures(self.bank, rng)
        pixels = normalize(pictures.pixels).to(self.options.device)
        images = self.learner.encode(pixels, pictures.corner)
        seen = torch.ones(images.shape[:2], dtype=torch.long)
        seen[torch.from_numpy(rng.random(len(seen)) < RECIPE["class_token_hidden"]), 0] = 0
        seen = seen.to(images.device)
        total = images.new_zeros(())
        for ask in (ask_for_one, ask_for_all):
            questions = ask(pictures.present, rng)
            total = total + match_loss(self._match(images, seen, questions.texts), questions.true)
        lists = draw_lists(pictures.present, rng)
        margin = self._match(images, seen, lists.texts).diff(dim=1)[:, 0]
        there = presence_loss(self.learner.presence(), lists.classes, pictures.present)
        ranked = ranking_loss(margin, lists.right)
        loss: Tensor = total + RECIPE["ranking"] * ranked + RECIPE["presence"] * there
        return loss

    def _match(self, images: Tensor, seen: Tensor, texts: list[str]) -> Tensor:
        encoded = self.tokenizer(texts, padding=True, return_tensors="pt").to(images.device)
        ids = encoded.input_ids
        ids[:, 0] = self.start
        return self.learner.match(images, seen, ids, encoded.attention_mask)


def teach(
    learner: Learner, tower: nn.Module, tokenizer: Any, start: int, options: Options
) -> float:
    """Train a matcher to the end; returns the seconds that took.

    Args:
        tower: its image tower.
        start: see :class:`Lesson`.
    """
    learner.to(options.device).train()
    lesson = Lesson(learner, tokenizer, SceneBank(RECIPE["scenes"]), start, options)
    with plain_attention(options.device):
        return fit(learner, _optimizer(learner, tower), lesson.loss, options, RECIPE["warmup"])


def _optimizer(learner: Learner, tower: nn.Module) -> torch.optim.Optimizer:
    """AdamW; the image tower, which has been trained before, moves slower."""
    known = set(map(id, tower.parameters()))
    others = [p for p in learner.parameters() if id(p) not in known]
    groups = [
        {"params": list(tower.parameters()), "lr": RECIPE["tower_learning_rate"]},
        {"params": others, "lr": RECIPE["learning_rate"]},
    ]
    return torch.optim.AdamW(groups, betas=RECIPE["betas"], weight_decay=RECIPE["weight_decay"])


def make_tokenizer(folder: Path, length: int) -> Any:
    """Write a tokenizer that knows every word of the texts, and load it."""
    from transformers import AutoTokenizer

    write_tokenizer(vocabulary([*vocabulary_texts(), PREFIX, *NAMES]), folder, length)
    return AutoTokenizer.from_pretrained(folder)


def export(model: Any, folder: Path) -> None:
    """Save model and preprocessing in half precision, as ``from_pretrained`` finds them."""
    model.half().save_pretrained(folder)
    pixels = {"image_mean": [MEAN] * 3, "image_std": [STD] * 3}
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(pixels, indent=2) + "\n", encoding="utf-8")


def load_exported(model_class: Any, wrapper: type[Matcher], folder: Path) -> Matcher:
    """The checkpoint as it is on disk, wrapped for use."""
    from transformers import AutoTokenizer

    model = model_class.from_pretrained(folder, dtype=torch.float32)
    pixels = Normalisation((MEAN,) * 3, (STD,) * 3)
    return wrapper(model, AutoTokenizer.from_pretrained(folder), pixels, (), Runtime())


def make_card(
    role: str, model: str, recipe: dict[str, Any], matcher: Matcher, folder: Path
) -> Card:
    """The card of an exported matcher; ``model`` says in words what it is."""
    scenes = [render_scene(seed) for seed in SPLITS["val"][:EVALUATED]]
    figures = {"validation_scenes": EVALUATED} | measure(matcher, scenes)
    return Card(role, model, SUPERVISION, RECIPE | recipe, figures, folder / "model.safetensors")


def match_loss(logits: Tensor, true: Tensor) -> Tensor:
    """Cross-entropy of "match" against "no match"; ``(N, 2)`` logits, ``(B, T)`` truths."""
    return F.cross_entropy(logits.float(), true.flatten().long().to(logits.device))


def ranking_loss(margin: Tensor, right: Tensor) -> Tensor:
    """Of two lists, the one that names more of the picture must match better.

    Args:
        margin: ``(2 B,)``, the logit of "match" over that of "no match".
        right: from :class:`Lists`.
    """
    lead = margin.float().reshape(-1, 2).diff(dim=1)[:, 0]
    order = right.diff(dim=1)[:, 0].sign().to(lead.device)
    return (F.softplus(-order * lead) * order.abs()).mean()


def presence_loss(scores: Tensor, classes: Tensor, present: npt.NDArray[np.bool_]) -> Tensor:
    """Is each listed class in the picture?

    Args:
        scores: ``(2 B, 15)``, one for each place in the list.
        classes: from :class:`Lists`.
    """
    row = torch.arange(len(classes))[:, None] // 2
    true = torch.from_numpy(present)[row, classes.clamp_min(0)].to(scores)
    listed = (classes >= 0).to(scores)
    each = F.binary_cross_entropy_with_logits(scores.float(), true.float(), reduction="none")
    return (each * listed).sum() / listed.sum()
