"""The miniature Painter: SegGPT's miniature, taught on without the tokens of a task."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.painter import without_type_tokens
from ovbench.models.seggpt import SegGPT, read_folder
from ovbench.models.weights.checkpoints import packaged
from ovbench.toyworld.quality.in_context import measure
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.train.roles.in_context import seggpt
from ovbench.toyworld.train.running.card import Card, write_card
from ovbench.toyworld.train.running.loop import fit, forget
from ovbench.toyworld.train.running.optimizer import adamw
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.running.weights import millions
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.world import SPLITS

STEPS = 800

RECIPE: dict[str, Any] = seggpt.RECIPE | {
    "learning_rate": 4e-4,
    "warmup": 40,
}

SUPERVISION = (
    "Supervision is dense, as the miniature SegGPT's: pairs of train scenes that show the same "
    "class, and its masks in both; the model paints the second mask, always white on black (the "
    "real one learned seven tasks, each painted in its own way). It starts from the packaged "
    "miniature SegGPT with both of its type tokens at zero, where they stay."
)


def train(options: Options) -> None:
    """Train, export to ``options.output`` as ``from_pretrained`` finds it, write the card."""
    torch.manual_seed(options.seed)
    start = packaged("seggpt")
    model = build(start.path).to(options.device).train()
    lesson = seggpt.Lesson(model, SceneBank(RECIPE["scenes"]), options)
    optimizer = adamw(model.parameters(), RECIPE, RECIPE["learning_rate"])
    seconds = fit(model, optimizer, lesson.loss, options, RECIPE["warmup"])
    exported = copy.deepcopy(model).cpu().half()
    exported.save_pretrained(options.output)
    recipe = RECIPE | {"start_sha256": start.records[0].sha256, "model": seggpt.MODEL}
    write_card(_card(exported, recipe, options.output), options, seconds)
    forget(options)


def build(folder: Path) -> Any:
    """The SegGPT of a folder, with its tokens of a task at zero and kept there."""
    model = without_type_tokens(read_folder(folder).float())
    parts = model.model.embeddings
    for token in (parts.type_token_instance, parts.type_token_semantic):
        token.requires_grad_(False)
    return model


def _card(model: Any, recipe: dict[str, Any], folder: Path) -> Card:
    """The card, with figures of the weights as they were saved."""
    scenes = [render_scene(seed) for seed in SPLITS["val"][: seggpt.EVALUATED]]
    figures = measure(SegGPT(model, (), Runtime()), scenes)
    return Card(
        "painter",
        "`SegGptForImageSegmentation` of transformers, of the miniature SegGPT's sizes and with "
        f"its two type tokens at zero, {millions(model)} parameters",
        SUPERVISION,
        recipe,
        {"validation_scenes": seggpt.EVALUATED} | figures,
        folder,
    )
