"""Patch encoders without labels: patches that the miniature CLIP finds alike become alike.

Similarity-preserving distillation (Tung and Mori, ICCV 2019) of CLIP's patch features, without
a label or a caption. The real encoders learn by self-distillation. In trials of equal length
that had not begun to bring the patches of a class together (0.3 of them nearest to the mean of
their class) when this had (0.7).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.clip.model import CLIP, load_clip
from ovbench.models.patches.encoder import PatchEncoder
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD
from ovbench.toyworld.quality.patches import measure
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.train.running.card import Card, write_card
from ovbench.toyworld.train.running.device import plain_attention
from ovbench.toyworld.train.running.loop import fit, forget
from ovbench.toyworld.train.running.optimizer import adamw
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.running.weights import millions
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.train.teaching.windows import Window, draw_window, encode, span
from ovbench.toyworld.world import SIZE, SPLITS

RECIPE: dict[str, Any] = {
    "scenes": 3000,  # of the train split
    "windows": [  # side in pixels and by how much it is enlarged; one per step
        (32, 1.0),
        (32, 1.5),
        (32, 2.0),
        (32, 2.5),
        (64, 1.0),
        (96, 1.0),
    ],
    "patches": 1152,  # in a batch
    "target_side": 2 * SIZE,  # pixels, of the scenes that CLIP sees
    "masked_windows": 0.0,  # of a batch
    "masked_patches": [0.1, 0.5],  # of such a window
    "class_weight": 0.2,
    "learning_rate": 1.5e-3,
    "betas": [0.9, 0.98],
    "weight_decay": 0.05,
    "warmup": 100,
    "schedule": "cosine",
    "gradient_clip": 1.0,
}

SUPERVISION = (
    "Supervision: no labels, and no captions either, but a teacher that had captions. Patches "
    "of train scenes, in the last block's tokens and in the keys of its attention, learn to be "
    "as alike as the packaged miniature CLIP's patch features are (the value path of its last "
    "block, on scenes of twice the size); the class token learns the same from their mean. The "
    "real model learns by self-distillation from pictures alone."
)

EVALUATED = 200
"""Validation scenes that the card's figures are measured on."""

_CHUNK = 20


@dataclass(frozen=True, slots=True)
class Miniature:
    """What to train.

    Attributes:
        role: such as ``"dino"``.
        build: an untrained ``ViTModel`` or ``Dinov2Model``.
        recipe: :data:`RECIPE` with this role's own numbers.
        supervision: what it learns from, in words.
    """

    role: str
    build: Callable[[], Any]
    recipe: Mapping[str, Any]
    supervision: str


def train(miniature: Miniature, options: Options) -> None:
    """Train, export to ``options.output`` as ``from_pretrained`` finds it, write the card."""
    recipe = miniature.recipe
    torch.manual_seed(options.seed)
    model = miniature.build().to(options.device).train()
    bank = SceneBank(recipe["scenes"])
    clip = load_clip("ViT-B-16", "openai", Runtime(device=options.device, checkpoints="toy"))
    lesson = Lesson(model, bank, targets_of(clip, bank, recipe["target_side"]), recipe, options)
    optimizer = adamw(model.parameters(), recipe, recipe["learning_rate"])
    with plain_attention(options.device):
        seconds = fit(model, optimizer, lesson.loss, options, recipe["warmup"])
    exported = export(model, options.output)
    write_card(_card(miniature, exported, clip, options.output), options, seconds)
    forget(options)


def targets_of(clip: CLIP, bank: SceneBank, side: int) -> Tensor:
    """CLIP's features of all scenes, less their mean; ``(N, d, h, w)`` float16."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (clip.mean, clip.std))
    found = []
    for start in range(0, len(bank), _CHUNK):
        images, _ = bank.take(np.arange(start, min(start + _CHUNK, len(bank))))
        pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std
        pixels = F.interpolate(pixels, (side, side), mode="bicubic")
        values = clip.dense_features(pixels, residual=False).values
        found.append(F.normalize(values, dim=1).half().cpu())
    features = torch.cat(found)
    common = torch.stack([chunk.float().mean(dim=(0, 2, 3)) for chunk in found]).mean(dim=0)
    return features - common.half()[:, None, None]


class Lesson:
    """The loss of one training step, which its number determines."""

    def __init__(
        self,
        model: Any,
        bank: SceneBank,
        targets: Tensor,
        recipe: Mapping[str, Any],
        options: Options,
    ) -> None:
        self.model, self.bank, self.targets = model, bank, targets
        self.recipe, self.options = recipe, options

    def loss(self, step: int) -> Tensor:
        """How differently the patches of a batch resemble each other."""
        recipe, rng = self.recipe, np.random.default_rng([self.options.seed, step])
        cell = SIZE // self.targets.shape[-1]
        window = draw_window(recipe["windows"], cell, rng)
        grid = round(window.side * window.zoom) // self.model.config.patch_size
        count = min(recipe["patches"] // grid**2, len(self.bank))
        indices = rng.choice(len(self.bank), count, replace=False)
        masked = self._masks(count, grid**2, rng)
        tokens = encode(self.model, self._pixels(indices, window), window, masked)
        wanted = self._wanted(indices, window, grid)
        patches, keys = (
            resemblance_error(found.flatten(0, 1), wanted.flatten(0, 1))
            for found in (tokens.patches, tokens.keys)
        )
        classes = resemblance_error(tokens.classes, wanted.mean(dim=1))
        weight: float = recipe["class_weight"]
        return patches + keys + weight * classes

    def _pixels(self, indices: Any, window: Window) -> Tensor:
        """The scenes' windows, enlarged and normalised; ``(N, 3, side, side)``."""
        images, _ = self.bank.take(indices)
        cut = torch.from_numpy(images).to(self.options.device).permute(0, 3, 1, 2) / 255
        cut = cut[..., span(window.top, window.side), span(window.left, window.side)]
        mean = torch.tensor(IMAGENET_MEAN, device=cut.device)[:, None, None]
        std = torch.tensor(IMAGENET_STD, device=cut.device)[:, None, None]
        side = round(window.side * window.zoom)
        return F.interpolate((cut - mean) / std, (side, side), mode="bicubic")

    def _wanted(self, indices: Any, window: Window, grid: int) -> Tensor:
        """CLIP's features where the window's patches are; ``(N, patches, d)``."""
        cell = SIZE // self.targets.shape[-1]
        top, left, side = (length // cell for length in window[:3])
        there = self.targets[torch.from_numpy(indices), :, span(top, side), span(left, side)]
        there = there.to(self.options.device).float()
        resized = F.interpolate(
            there, (grid, grid), mode="bilinear", align_corners=False, antialias=True
        )
        return resized.flatten(2).mT

    def _masks(self, count: int, patches: int, rng: np.random.Generator) -> Tensor | None:
        """Which patches to hide, ``(count, patches)`` bool; in some windows none."""
        if not self.recipe["masked_windows"]:
            return None
        low, high = self.recipe["masked_patches"]
        share = rng.uniform(low, high, count)
        share[rng.random(count) >= self.recipe["masked_windows"]] = 0
        masked = rng.random((count, patches)) < share[:, None]
        return torch.from_numpy(masked).to(self.options.device)


def resemblance_error(found: Tensor, wanted: Tensor) -> Tensor:
    """The mean squared difference of all cosines; ``(n, d)`` and ``(n, e)`` to a number."""
    with torch.autocast(found.device.type, enabled=False):  # cosines are differences of large sums
        found, wanted = F.normalize(found, dim=1), F.normalize(wanted, dim=1)
        return F.mse_loss(found @ found.T, wanted @ wanted.T)


def export(model: Any, folder: Path) -> Any:
    """Save weights in half precision, their configuration and that of the pictures.

    Returns:
        The model with the saved weights, on the CPU.
    """
    rounded = copy.deepcopy(model).cpu().half()
    rounded.save_pretrained(folder)
    pictures = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": SIZE, "width": SIZE},
        "resample": 3,  # bicubic
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": IMAGENET_MEAN,
        "image_std": IMAGENET_STD,
    }
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(pictures, indent=2) + "\n", encoding="utf-8")
    return rounded


def _card(miniature: Miniature, model: Any, teacher: CLIP, folder: Path) -> Card:
    """The card, with figures of the weights as they were saved."""
    config, name = model.config, type(model).__name__
    scenes = [render_scene(seed) for seed in SPLITS["val"][:EVALUATED]]
    figures = measure(PatchEncoder(model.float(), (), Runtime()), scenes)
    return Card(
        miniature.role,
        f"`{name}` of transformers, {config.num_hidden_layers} layers of width "
        f"{config.hidden_size} with patch {config.patch_size}, "
        f"{millions(model)} parameters",
        miniature.supervision,
        {
            **miniature.recipe,
            "teacher_sha256": teacher.checkpoint.sha256,
            "model": config.to_diff_dict(),
        },
        {"validation_scenes": EVALUATED} | figures,
        folder,
    )
