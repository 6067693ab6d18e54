"""The miniature CLIP: open_clip's own ``CLIP`` class, trained on images and captions alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import open_clip
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from open_clip.transformer import PatchDropout
from torch import Tensor, nn

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.clip.model import CLIP
from ovbench.models.patches.positions import resize_positions
from ovbench.toyworld.captions import caption, vocabulary_texts
from ovbench.toyworld.quality.localisation import measure
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.train.running.card import Card, write_card
from ovbench.toyworld.train.running.device import plain_attention
from ovbench.toyworld.train.running.loop import fit, forget
from ovbench.toyworld.train.running.optimizer import adamw
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.running.weights import millions, save_half
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.train.teaching.views import Views, draw_views
from ovbench.toyworld.train.teaching.words import UNKNOWN, vocabulary, write_tokenizer
from ovbench.toyworld.world import NAMES, SIZE, SPLITS

STEPS = 4000

STAGES: tuple[dict[str, Any], ...] = (
    {
        "share": 0.55,  # of the steps
        "loss": "contrastive",
        "learning_rate": 1.5e-3,  # at its peak
        "crop_share": 0.9,  # of the steps; the others see whole scenes
        "scene_batch": 96,
        "patch_dropout": 0.5,  # where there are many patches, except in the last steps
        "attention_alone": 0.0,  # of the steps
    },
    {
        "share": 0.2,
        "loss": "contrastive",
        "learning_rate": 1e-3,
        "crop_share": 0.25,
        "scene_batch": 128,
        "patch_dropout": 0.5,
        "attention_alone": 0.0,
    },
    {
        "share": 0.25,
        "loss": "sigmoid",
        "learning_rate": 1e-3,
        "crop_share": 0.8,
        "scene_batch": 128,
        "patch_dropout": 0.0,
        "attention_alone": 0.7,
    },
)
"""Mostly crops, then mostly whole scenes, then one class a caption."""

RECIPE: dict[str, Any] = {
    "scenes": 20_000,  # of the train split, with captions drawn afresh every time
    "crop_side": 32,
    "crop_zooms": [1.0, 1.5, 2.0, 2.5],  # one per step
    "crop_batch": 160,
    "many_patches": 64,
    "last_share": 0.2,
    "partial_captions": 0.5,  # of the captions name some of the classes only
    "word_dropout": 0.1,  # words become unknown words, class names excepted
    "betas": [0.9, 0.98],
    "weight_decay": 0.05,
    "warmup": 100,
    "schedule": "cosine",  # in each stage, with a fresh optimizer
    "gradient_clip": 1.0,
    "sigmoid_bias": -2.0,  # about two of the 15 classes are in a picture
}

SUPERVISION = (
    "Supervision is image-level: pictures and captions that name every class in the picture, "
    "or some of them, from a few templates. Many pictures are 32-pixel crops of scenes, enlarged "
    "up to 2.5 times and captioned by what the crop shows. The model sees no label map, box or "
    "point. In the last stage every caption names one class, and in most of its steps the last "
    "block is its attention alone, so that the values of that attention carry the classes."
)

MEAN, STD = 0.5, 0.25
VISION = {"image_size": SIZE, "layers": 4, "width": 128, "head_width": 32, "patch_size": 8}
TEXT = {"context_length": 24, "width": 64, "heads": 4, "layers": 2}
EMBED = 64

EVALUATED = 200
"""Validation scenes that the card's figures are measured on."""


def train(options: Options) -> None:
    """Train, export to ``options.output`` as an open_clip ``local-dir``, write the card."""
    tokens = words()
    write_config(tokens, options.output)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{options.output}")
    model = build(len(tokens), options)
    bank, seconds, first, share = SceneBank(RECIPE["scenes"]), 0.0, 0, 0.0
    for number, stage in enumerate(STAGES, start=1):
        share += stage["share"]
        part = replace(options, steps=round(options.steps * share) - first)
        lesson = Lesson(model, tokenizer, tokens, bank, stage, part, first)
        with plain_attention(options.device):
            optimizer = adamw(model.parameters(), RECIPE, stage["learning_rate"])
            seconds += fit(model, optimizer, lesson.loss, part, RECIPE["warmup"], number)
        round_to_half(model)
        first += part.steps
    # where open_clip looks for them
    weights = save_half(model.state_dict(), options.output / "open_clip_model.safetensors")
    write_card(_card(weights), options, seconds)
    forget(options)


def words() -> list[str]:
    """Every token of the captions, in order of its id."""
    return vocabulary([*vocabulary_texts(), *NAMES])


def build(vocab_size: int, options: Options) -> nn.Module:
    """The untrained model, its weights drawn from the seed."""
    torch.manual_seed(options.seed)
    model: nn.Module = open_clip.CLIP(EMBED, VISION, {**TEXT, "vocab_size": vocab_size})
    return model.to(options.device).train()


def write_config(tokens: list[str], folder: Path) -> None:
    """Write ``open_clip_config.json`` and the tokenizer's files."""
    text = {**TEXT, "vocab_size": len(tokens), "hf_tokenizer_name": "word-level"}
    config = {
        "model_cfg": {"embed_dim": EMBED, "vision_cfg": VISION, "text_cfg": text},
        "preprocess_cfg": {"mean": [MEAN] * 3, "std": [STD] * 3, "interpolation": "bicubic"},
    }
    write_tokenizer(tokens, folder, TEXT["context_length"])
    path = folder / "open_clip_config.json"
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


class Lesson:
    """The loss of one training step, which its number determines."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        tokens: list[str],
        bank: SceneBank,
        stage: dict[str, Any],
        options: Options,
        first: int,
    ) -> None:
        self.model, self.tokenizer, self.options = model, tokenizer, options
        self.bank, self.stage, self.first = bank, stage, first
        self.unknown = tokens.index(UNKNOWN)
        self.droppable = torch.tensor([t not in NAMES and not t.startswith("[") for t in tokens])

    def loss(self, step: int) -> Tensor:
        """How badly captions and pictures of a fresh batch find each other."""
        rng = np.random.default_rng([self.options.seed, self.first + step])
        views, zoom = self._views(rng)
        alone = self.stage["attention_alone"]
        with attention_alone(self.model.visual, bool(alone) and rng.random() < alone):
            image = F.normalize(self._encode(views, zoom, step), dim=-1)
        if self.stage["loss"] == "sigmoid":
            return self._sigmoid(image, views.present, rng)
        return self._contrastive(image, views.present, rng)

    def _contrastive(
        self, image: Tensor, present: npt.NDArray[np.bool_], rng: np.random.Generator
    ) -> Tensor:
        """Symmetric cross-entropy over a batch of pictures and their captions.

        Every caption that is true of a picture is a right answer, as in supervised
        contrastive learning (Khosla et al., NeurIPS 2020).
        """
        named = name_some(present, rng)
        logits = self._logits(image, named, rng)
        true = torch.from_numpy((named <= present[:, None]).all(axis=-1)).to(logits)
        by_image = F.cross_entropy(logits, true / true.sum(dim=1, keepdim=True))
        by_text = F.cross_entropy(logits.T, (true / true.sum(dim=0)).T)
        return (by_image + by_text) / 2

    def _sigmoid(
        self, image: Tensor, present: npt.NDArray[np.bool_], rng: np.random.Generator
    ) -> Tensor:
        """Is a caption of a single class true of a picture? For every pair of the two.

        The loss of SigLIP (Zhai et al., ICCV 2023).
        """
        logits = self._logits(image, np.eye(len(NAMES), dtype=bool), rng)
        true = torch.from_numpy(present).to(logits)
        return F.binary_cross_entropy_with_logits(logits + RECIPE["sigmoid_bias"], true)

    def _logits(
        self, image: Tensor, named: npt.NDArray[np.bool_], rng: np.random.Generator
    ) -> Tensor:
        """Scaled cosines of pictures and captions that name the classes in ``named``."""
        text = self.model.encode_text(self._tokens(named, rng), normalize=True)
        scale = self.model.logit_scale.clamp(max=math.log(100)).exp()
        logits: Tensor = (scale * image @ text.T).float()
        return logits

    def _views(self, rng: np.random.Generator) -> tuple[Views, float]:
        """Crops and how much to enlarge them in most steps, else whole scenes."""
        if rng.random() < self.stage["crop_share"]:
            zoom = float(rng.choice(RECIPE["crop_zooms"]))
            return draw_views(self.bank, RECIPE["crop_batch"], RECIPE["crop_side"], rng), zoom
        return draw_views(self.bank, self.stage["scene_batch"], SIZE, rng), 1.0

    def _encode(self, views: Views, zoom: float, step: int) -> Tensor:
        """Embeddings of the pictures; where patches are many, of half of the patches."""
        pixels = normalize(views.images).to(self.options.device)
        side = round(pixels.shape[-1] * zoom)
        pixels = F.interpolate(pixels, (side, side), mode="bicubic")
        few = (side // VISION["patch_size"]) ** 2 < RECIPE["many_patches"]
        last = step >= self.options.steps * (1 - RECIPE["last_share"])
        visual = self.model.visual
        visual.patch_dropout = (
            nn.Identity() if few or last else PatchDropout(self.stage["patch_dropout"])
        )
        return encode_views(visual, pixels, (views.top, views.left), zoom)

    def _tokens(self, present: npt.NDArray[np.bool_], rng: np.random.Generator) -> Tensor:
        """Captions of the classes present, some of their other words unknown."""
        names = [[NAMES[i] for i in np.flatnonzero(row)] for row in present]
        tokens: Tensor = self.tokenizer([caption(each, rng) for each in names])
        unlucky = torch.from_numpy(rng.random(tokens.shape) < RECIPE["word_dropout"])
        dropped = tokens.masked_fill(unlucky & self.droppable[tokens], self.unknown)
        return dropped.to(self.options.device)


class AttentionAlone(nn.Module):
    """A block without its residual and its MLP."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.block = block

    def forward(self, q_x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """The block's attention, on ``(N, tokens, width)``."""
        attended = self.block.attention(q_x=self.block.ln_1(q_x), attn_mask=attn_mask)
        scaled: Tensor = self.block.ls_1(attended)
        return scaled


@contextmanager
def attention_alone(visual: Any, alone: bool) -> Iterator[None]:
    """Leave the last block's residual and MLP out: stochastic depth for one block.

    Then the picture's embedding is made of the values of the last attention and of nothing
    else, and these must carry the classes. In four layers they would otherwise leave much of
    that to the last MLP.
    """
    blocks = visual.transformer.resblocks
    block = blocks[-1]
    if alone:
        blocks[-1] = AttentionAlone(block)
    try:
        yield
    finally:
        blocks[-1] = block


def name_some(present: npt.NDArray[np.bool_], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """The classes that each picture's caption names: all present ones, or some of them."""
    some = present & (rng.random(present.shape) < 0.5)
    partial = some.any(axis=1) & (rng.random(len(present)) < RECIPE["partial_captions"])
    return np.where(partial[:, None], some, present)


def normalize(images: npt.NDArray[np.uint8]) -> Tensor:
    """``(N, H, W, 3)`` uint8 to the float ``(N, 3, H, W)`` that the model takes."""
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD


def encode_views(visual: Any, pixels: Tensor, corner: tuple[int, int], zoom: float) -> Tensor:
    """Embed windows of enlarged scenes, each patch with the position it has there.

    Args:
        pixels: ``(N, 3, side, side)``, already enlarged.
        corner: the window's top and left before enlargement, in pixels.
        zoom: by how much the scenes were enlarged; their position embeddings are, too.

    Returns:
        ``(N, dim)``.
    """
    patch = VISION["patch_size"]
    native, grid, side = SIZE // patch, round(SIZE * zoom) // patch, pixels.shape[-1] // patch
    place = resize_positions(visual.positional_embedding, (native, native), (grid, grid))
    row, column = (min(round(at * zoom / patch), grid - side) for at in corner)
    patches = place[1:].reshape(grid, grid, -1)[row : row + side, column : column + side]
    window = torch.cat([place[:1], patches.flatten(0, 1)])
    embeddings: Tensor = torch.func.functional_call(
        visual, {"positional_embedding": window}, (pixels,)
    )
    return embeddings


@torch.no_grad()
def round_to_half(model: nn.Module) -> None:
    """Round the weights as the export does, so that a stage can start from an export."""
    for parameter in model.parameters():
        parameter.copy_(parameter.half())


def _card(weights: Path) -> Card:
    """The card, with figures of the checkpoint as it is loaded from disk."""
    source, folder = weights.name, f"local-dir:{weights.parent}"
    record = CheckpointRecord("clip", source, None, None)
    exported, tokenizer = open_clip.create_model(folder), open_clip.get_tokenizer(folder)
    scenes = [render_scene(seed) for seed in SPLITS["val"][:EVALUATED]]
    figures = measure(CLIP(exported, tokenizer, record, Runtime()), scenes)
    return Card(
        "clip",
        f"`CLIP` of open_clip, ViT of 4 layers with patch 8, {millions(exported)} parameters",
        SUPERVISION,
        RECIPE | {"stages": STAGES, "vision": VISION, "text": TEXT, "embed": EMBED},
        {"validation_scenes": EVALUATED} | figures,
        weights,
    )
