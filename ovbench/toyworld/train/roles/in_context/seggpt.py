"""The miniature SegGPT: transformers' ``SegGptForImageSegmentation``, built small.

Trained as in Wang et al. (ICCV 2023) on pairs of pictures of one class, with its masks in them.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD
from ovbench.models.seggpt import SegGPT
from ovbench.models.weights.checkpoints import packaged
from ovbench.toyworld.quality.in_context import measure
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.train.running.card import Card, write_card
from ovbench.toyworld.train.running.loop import fit, forget
from ovbench.toyworld.train.running.optimizer import adamw
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.running.weights import millions
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.train.teaching.views import presence
from ovbench.toyworld.world import NAMES, SIZE, SPLITS, THINGS

STEPS = 2400

SIDE = 64
"""Pixels that a scene is squashed to: half of the canvas. Less than a scene has, for speed."""

MODEL: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "image_size": (2 * SIDE, SIDE),
    "patch_size": 8,
    "pretrain_image_size": SIZE,
    "decoder_hidden_size": 16,
    "merge_index": 1,
    "intermediate_hidden_state_indices": [3, 4, 5],
    "drop_path_rate": 0.0,
    "beta": 1.0,
}

RECIPE: dict[str, Any] = {
    "scenes": 6000,  # of the train split
    "pairs": 16,  # in a batch
    "things_share": 0.75,  # of the pairs, the others show a ground
    "least_share": 0.02,  # of a mask that object and rest are taken to have, for their weights
    "learning_rate": 1e-3,
    "betas": [0.9, 0.98],
    "weight_decay": 0.05,
    "warmup": 100,
    "schedule": "cosine",
    "gradient_clip": 1.0,
}

SUPERVISION = (
    "Supervision is dense: pairs of train scenes that show the same class, and its masks in both, "
    "cut from their label maps; the model paints the second mask, all of it and always white on "
    "black (the real one is also trained in random colours and to fill in masks of which some "
    "patches are hidden). It never sees a name. It starts from the weights of the packaged "
    "miniature DINO, as the real one starts from a pre-trained encoder; that card says how they "
    "came about."
)

EVALUATED = 200
"""Validation scenes that the card's figures are measured on."""


def train(options: Options) -> None:
    """Train, export to ``options.output`` as ``from_pretrained`` finds it, write the card."""
    torch.manual_seed(options.seed)
    model, start = build(), packaged("dino")
    start_from_dino(model.model, start.path)
    model.to(options.device).train()
    lesson = Lesson(model, SceneBank(RECIPE["scenes"]), options)
    optimizer = adamw(model.parameters(), RECIPE, RECIPE["learning_rate"])
    seconds = fit(model, optimizer, lesson.loss, options, RECIPE["warmup"])
    exported = copy.deepcopy(model).cpu().half()
    exported.save_pretrained(options.output)
    recipe = RECIPE | {"start_sha256": start.records[0].sha256, "model": MODEL}
    write_card(_card(exported, recipe, options.output), options, seconds)
    forget(options)


def build() -> Any:
    """An untrained model."""
    from transformers import SegGptConfig, SegGptForImageSegmentation

    return SegGptForImageSegmentation(SegGptConfig(**MODEL))


@torch.no_grad()
def start_from_dino(model: Any, folder: Path) -> None:
    """Give the first layers the weights of a DINO, whose blocks are the same.

    The layers above look from the first step on for what is alike: their keys are projected as
    their queries are.
    """
    from transformers import ViTModel

    dino = ViTModel.from_pretrained(folder, add_pooling_layer=False)
    model.embeddings.position_embeddings.copy_(dino.embeddings.position_embeddings)
    into, given = model.embeddings.patch_embeddings, dino.embeddings.patch_embeddings
    into.projection.load_state_dict(given.projection.state_dict())
    for layer, block in zip(model.encoder.layers, dino.layers, strict=False):
        parts = (block.attention.q_proj, block.attention.k_proj, block.attention.v_proj)
        layer.attention.qkv.weight.copy_(torch.cat([part.weight for part in parts]))
        layer.attention.qkv.bias.copy_(torch.cat([part.bias for part in parts]))
        for mine, its in (
            (layer.attention.proj, block.attention.o_proj),
            (layer.mlp.lin1, block.mlp.fc1),
            (layer.mlp.lin2, block.mlp.fc2),
            (layer.layernorm_before, block.layernorm_before),
            (layer.layernorm_after, block.layernorm_after),
        ):
            mine.load_state_dict(its.state_dict())
    for layer in model.encoder.layers[len(dino.layers) :]:
        query, key, _ = layer.attention.qkv.weight.chunk(3)
        torch.nn.init.xavier_uniform_(query)
        key.copy_(query)


class Lesson:
    """The loss of one training step, which its number determines."""

    def __init__(self, model: Any, bank: SceneBank, options: Options) -> None:
        self.model, self.bank, self.options = model, bank, options
        _, labels = bank.take(np.arange(len(bank)))
        self.having = [np.flatnonzero(shown) for shown in presence(labels).T]
        patches = (SIDE // MODEL["patch_size"]) ** 2
        hidden = torch.arange(2 * patches, device=options.device) >= patches
        self.hidden = hidden[None]

    def loss(self, step: int) -> Tensor:
        """How far the painted masks are from what the second scenes show of the classes."""
        rng = np.random.default_rng([self.options.seed, step])
        classes = self._draw_classes(rng)
        pairs = np.stack([rng.choice(self.having[c], 2, replace=False) for c in classes], axis=1)
        (shown, masks), (images, truth) = (self._views(half, classes) for half in pairs)
        painted = self.model(
            pixel_values=images,
            prompt_pixel_values=shown,
            prompt_masks=masks,
            bool_masked_pos=self.hidden,
        ).pred_masks[:, :, SIDE:]
        return painting_loss(painted.float(), truth, MODEL["beta"])

    def _draw_classes(self, rng: np.random.Generator) -> Any:
        """What each pair shows: ``(pairs,)`` of values in label maps."""
        count, things = RECIPE["pairs"], len(THINGS)
        thing = rng.random(count) < RECIPE["things_share"]
        drawn = rng.integers(0, things, count), rng.integers(things, len(NAMES), count)
        return np.where(thing, *drawn)

    def _views(self, indices: Any, classes: Any) -> tuple[Tensor, Tensor]:
        """Scenes and the masks of their classes, normalised; ``(pairs, 3, SIDE, SIDE)`` each."""
        images, labels = self.bank.take(indices)
        pixels = torch.from_numpy(images).to(self.options.device).permute(0, 3, 1, 2) / 255
        masks = torch.from_numpy(labels == classes[:, None, None]).to(pixels)[:, None]
        mean = torch.tensor(IMAGENET_MEAN, device=pixels.device)[:, None, None]
        std = torch.tensor(IMAGENET_STD, device=pixels.device)[:, None, None]
        small = F.interpolate((pixels - mean) / std, (SIDE, SIDE), mode="bicubic", antialias=True)
        return small, (F.interpolate(masks, (SIDE, SIDE)) - mean) / std


def painting_loss(painted: Tensor, truth: Tensor, beta: float) -> Tensor:
    """The model's own loss, smooth L1, weighted: objects are small.

    Object and rest have the weight of the square root of what would make them equal, so that
    neither a blank canvas nor a full one is a cheap answer.

    Args:
        painted, truth: ``(n, 3, h, w)`` normalised; an object's pixels are positive.
        beta: where the loss goes over from a square to a line.
    """
    inside = (truth[:, :1] > 0).float()
    share = inside.mean(dim=(1, 2, 3), keepdim=True)
    least: float = RECIPE["least_share"]
    weight = (inside / share.clamp(min=least) + (1 - inside) / (1 - share).clamp(min=least)).sqrt()
    errors = F.smooth_l1_loss(painted, truth, beta=beta, reduction="none").mean(dim=1, keepdim=True)
    return (weight * errors).sum() / weight.sum()


def _card(model: Any, recipe: dict[str, Any], folder: Path) -> Card:
    """The card, with figures of the weights as they were saved."""
    scenes = [render_scene(seed) for seed in SPLITS["val"][:EVALUATED]]
    figures = measure(SegGPT(model, (), Runtime()), scenes)
    return Card(
        "seggpt",
        f"`SegGptForImageSegmentation` of transformers, {MODEL['num_hidden_layers']} layers of "
        f"width {MODEL['hidden_size']} with patch {MODEL['patch_size']} on a canvas of two "
        f"pictures of {SIDE} pixels, {millions(model)} parameters",
        SUPERVISION,
        recipe,
        {"validation_scenes": EVALUATED} | figures,
        folder,
    )
