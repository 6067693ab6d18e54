"""The miniature SAM: ``segment_anything``'s own ``Sam``, trained on prompts and masks.

The losses and the interactive prompts are those of Kirillov et al. (ICCV 2023), appendix A.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.sam.model import CONFIG, WEIGHTS, Sam, SamConfig, build_sam, model_from_folder
from ovbench.toyworld.quality.proposals import measure
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.train.running.card import Card, write_card
from ovbench.toyworld.train.running.device import plain_attention
from ovbench.toyworld.train.running.loop import fit, forget
from ovbench.toyworld.train.running.optimizer import adamw
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.running.weights import millions, save_half
from ovbench.toyworld.train.teaching import mask_losses, prompts
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.train.teaching.mask_losses import grouping_loss, mask_loss, shrink
from ovbench.toyworld.train.teaching.prompts import (
    Prompts,
    draw_objects,
    first_prompts,
    second_prompts,
)
from ovbench.toyworld.world import SIZE, SPLITS

STEPS = 2200

MODEL = SamConfig(
    encoder_embed_dim=128,
    encoder_depth=5,
    encoder_num_heads=4,
    encoder_global_attn_indexes=(1, 3, 4),
    encoder_window_size=6,
    image_size=SIZE,
    patch_size=8,
    prompt_embed_dim=128,
    mask_in_chans=16,
    decoder_num_heads=4,
    decoder_mlp_dim=256,
    iou_head_hidden_dim=128,
)

RECIPE: dict[str, Any] = {
    "scenes": 12_000,  # of the train split
    "scene_batch": 16,
    "scene_prompts": 6,
    "second_pass": 0.4,  # of the steps ask again, with one of the masks
    "grouping_weight": 1.0,  # at the first step; falls to nothing
    "grouping_share": 0.1,  # of the steps until then
    "alike_scale": 2.0,  # of query and key projections of the decoder, at the start
    "logit_scale": 16.0,  # of the masks, after training
    "learning_rate": 1.5e-3,
    "betas": [0.9, 0.98],
    "weight_decay": 0.05,
    "warmup": 100,
    "schedule": "cosine",
    "gradient_clip": 1.0,
}

SUPERVISION = (
    "Supervision is dense but class-agnostic: points, boxes and earlier masks as prompts, and "
    "the mask of the object they lie in, cut from the label maps of train scenes. An object is "
    "a connected piece of a thing or all of one kind of ground. In the first tenth of the steps a "
    "second loss wants the image embedding alike within these objects. The model never sees a "
    "class."
)

EVALUATED = 200
"""Validation scenes that the card's figures are measured on."""


def train(options: Options) -> None:
    """Train, export to ``options.output``, write the card."""
    torch.manual_seed(options.seed)
    model = build_sam(MODEL)
    match_alike(model)
    model.to(options.device).train()
    lesson = Lesson(model, SceneBank(RECIPE["scenes"]), options)
    optimizer = adamw(model.parameters(), RECIPE, RECIPE["learning_rate"], fused=True)
    with plain_attention(options.device):
        seconds = fit(model, optimizer, lesson.loss, options, RECIPE["warmup"])
    sharpen(model, RECIPE["logit_scale"])
    weights = export(model, options.output)
    write_card(_card(weights), options, seconds)
    forget(options)


class Lesson:
    """The loss of one training step, which its number determines."""

    def __init__(self, model: Any, bank: SceneBank, options: Options) -> None:
        self.model, self.bank, self.options = model, bank, options

    def loss(self, step: int) -> Tensor:
        """How badly a batch of scenes answers its prompts, asked once or twice."""
        rng = np.random.default_rng([self.options.seed, step])
        indices = rng.choice(len(self.bank), RECIPE["scene_batch"], replace=False)
        images, labels = self.bank.take(indices)
        masks = draw_objects(labels, RECIPE["scene_prompts"], rng)
        target = shrink(masks, self.model.prompt_encoder.mask_input_size).to(self.options.device)
        features, asked = self._encode(images), first_prompts(masks, rng)
        logits, iou = self._decode(features, asked)
        loss = mask_loss(logits, iou, target)
        grouping = 1 - step / (RECIPE["grouping_share"] * self.options.steps)
        if grouping > 0:
            loss = loss + grouping * RECIPE["grouping_weight"] * grouping_loss(features, target)
        if rng.random() < RECIPE["second_pass"]:
            asked = second_prompts(asked, logits.detach(), iou.detach(), masks, rng)
            loss = (loss + mask_loss(*self._decode(features, asked), target)) / 2
        return loss

    def _encode(self, images: npt.NDArray[np.uint8]) -> Tensor:
        pixels = torch.from_numpy(images).to(self.options.device).permute(0, 3, 1, 2)
        features: Tensor = self.model.image_encoder(self.model.preprocess(pixels.float()))
        return features.repeat_interleave(RECIPE["scene_prompts"], dim=0)

    def _decode(self, features: Tensor, asked: Prompts) -> tuple[Tensor, Tensor]:
        """All four masks and predicted IoUs; ``(n, 4, h, w)`` and ``(n, 4)``.

        The decoder takes prompts on one image only, and adds its embedding to that of the
        mask prompt. The embeddings of several images come in by that second way.
        """
        device = features.device
        with torch.autocast(device.type, enabled=False):  # positions need all their bits
            sparse, dense = self.model.prompt_encoder(**asked.to(device))
            places = self.model.prompt_encoder.get_dense_pe()
        logits, iou = self.model.mask_decoder.predict_masks(
            image_embeddings=torch.zeros_like(features[:1]),
            image_pe=places,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense + features,
        )
        return logits.float(), iou.float()


@torch.no_grad()
def match_alike(model: Any) -> None:
    """Start every attention with keys projected as queries are: what is alike attends.

    So a point's token looks at the place it names and a patch at patches like it from the
    first step on. From independent projections finding that takes longer than all the rest.
    """
    for block in model.image_encoder.blocks:
        query, key, _ = block.attn.qkv.weight.chunk(3)
        key.copy_(query)
    for module in model.mask_decoder.modules():
        if hasattr(module, "q_proj"):
            module.q_proj.weight.mul_(RECIPE["alike_scale"])
            module.k_proj.weight.copy_(module.q_proj.weight)


@torch.no_grad()
def sharpen(model: Any, scale: float) -> None:
    """Multiply mask logits, given and taken; masks and claims of quality stay the same.

    Proposals are filtered by what a mask loses when its threshold moves by one logit. In so
    small a picture a logit is a large part of an object, unless logits are steeper.
    """
    for mlp in model.mask_decoder.output_hypernetworks_mlps:
        mlp.layers[-1].weight.mul_(scale)
        mlp.layers[-1].bias.mul_(scale)
    model.prompt_encoder.mask_downscaling[0].weight.div_(scale)


def export(model: nn.Module, folder: Path) -> Path:
    """Save configuration and weights, these in half precision; returns the weight file."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = json.dumps(asdict(MODEL), indent=2) + "\n"
    (folder / CONFIG).write_text(numbers, encoding="utf-8")
    return save_half(model.state_dict(), folder / WEIGHTS)


def _card(weights: Path) -> Card:
    """The card, with figures of the checkpoint as it is loaded from disk."""
    model = model_from_folder(weights.parent)
    scenes = [render_scene(seed) for seed in SPLITS["val"][:EVALUATED]]
    figures = measure(Sam(model, (), Runtime()), scenes)
    return Card(
        "sam",
        f"`Sam` of segment_anything, ViT of {MODEL.encoder_depth} layers with patch "
        f"{MODEL.patch_size} at {MODEL.image_size} pixels, {millions(model)} parameters",
        SUPERVISION,
        RECIPE | {"prompts": prompts.RECIPE, "losses": mask_losses.RECIPE, "config": asdict(MODEL)},
        {"validation_scenes": EVALUATED} | figures,
        weights,
    )
