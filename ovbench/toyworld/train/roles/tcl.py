"""The miniature masker of TCL, beside the packaged miniature CLIP, which stays as it is.

Cha, Mun and Roh (CVPR 2023), on pictures and the classes that their captions name.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.clip.masker import Masker, MaskerNetwork, read_network
from ovbench.models.clip.model import CLIP, load_clip
from ovbench.models.clip.trunk import Trunk
from ovbench.toyworld.captions import SINGLE
from ovbench.toyworld.quality.inputs import imagenet_pixels
from ovbench.toyworld.quality.localisation import miou
from ovbench.toyworld.quality.masking import SIDES, measure, segment
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.train.running.card import Card, write_card
from ovbench.toyworld.train.running.loop import fit, forget
from ovbench.toyworld.train.running.optimizer import adamw
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.running.weights import millions, save_half
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.train.teaching.views import presence
from ovbench.toyworld.train.teaching.windows import span
from ovbench.toyworld.world import NAMES, SIZE, SPLITS

STEPS = 400

RECIPE: dict[str, Any] = {
    "scenes": 1500,  # of the train split
    "zooms": [1, 2],  # one per step: whole scenes, or windows of half their side, enlarged
    "batch": 48,
    "cut_out": 12,  # of a batch, of whole scenes
    "region_weight": 0.1,
    "picture_weight": 0.1,
    "area_weight": 0.4,
    "smoothness_weight": 0.2,
    "learning_rate": 5e-3,
    "gate_rate": 5e-2,
    "betas": [0.9, 0.98],
    "weight_decay": 0.05,
    "warmup": 30,
    "schedule": "cosine",
    "gradient_clip": 1.0,
    "scored_on": 40,  # other scenes of the train split; the best of the saved states is kept
}

SAVE_EVERY = 80
"""Steps between two saved states at most, each of which is scored."""

SUPERVISION = (
    "Supervision is image-level: pictures and the classes that their captions name, one prompt a "
    "class. The masker starts as the last block of the packaged miniature CLIP, which is frozen. A "
    "mask is right if its places together are nearest to its text, if CLIP names what it cuts out "
    "by it, if it is as large as a class is in the mean where the class is, and empty elsewhere. "
    "Which classes are in a picture is read off its label map, as for captions; where they are is "
    "not."
)

EVALUATED = 200
"""Validation scenes that the card's figures are measured on."""

_CHUNK = 20


def train(options: Options) -> None:
    """Train, export to ``options.output`` as the loader finds it, write the card."""
    torch.manual_seed(options.seed)
    options = replace(options, save_every=min(options.save_every, SAVE_EVERY))
    clip = load_clip("ViT-B-16", "openai", Runtime(device=options.device, checkpoints="toy"))
    network = build(clip).to(options.device).train()
    lesson = Lesson(network, clip, SceneBank(RECIPE["scenes"]), options)
    gates = [w for name, w in network.named_parameters() if name.endswith(".gate")]
    others = [w for name, w in network.named_parameters() if not name.endswith(".gate")]
    optimizer = adamw(others, RECIPE, RECIPE["learning_rate"])
    optimizer.add_param_group({"params": gates, "lr": RECIPE["gate_rate"], "weight_decay": 0.0})
    score = Score(network, clip)
    seconds = fit(network, optimizer, lesson.loss, options, RECIPE["warmup"], score=score)
    weights = save_half(network.state_dict(), options.output / "model.safetensors")
    write_card(_card(clip, weights), options, seconds)
    forget(options)


def build(clip: CLIP) -> MaskerNetwork:
    """A masker that reads places as CLIP's last block reads patches; its gates are closed."""
    network = MaskerNetwork(clip.visual)
    network.norm.load_state_dict(clip.visual.ln_post.state_dict())
    network.proj.data.copy_(clip.visual.proj)
    return network.requires_grad_(True)


class Lesson:
    """The loss of one training step, which its number determines."""

    def __init__(
        self, network: MaskerNetwork, clip: CLIP, bank: SceneBank, options: Options
    ) -> None:
        self.network, self.clip, self.bank, self.options = network, clip, bank, options
        self.scale = clip.logit_scale
        self.tokens = {zoom: tokens_of(clip, bank, zoom * SIZE) for zoom in RECIPE["zooms"]}
        prompts = [template.format(name) for name in NAMES for template in SINGLE]
        texts = clip.encode_text(prompts).clone()
        self.texts = texts.reshape(len(NAMES), len(SINGLE), -1)

    def loss(self, step: int) -> Tensor:
        """How little the masks of a batch are what their texts say."""
        recipe, rng = RECIPE, np.random.default_rng([self.options.seed, step])
        zoom = int(rng.choice(recipe["zooms"]))
        indices = rng.choice(len(self.bank), recipe["batch"], replace=False)
        trunk, images, present = self._window(indices, zoom, rng)
        there = torch.from_numpy(present).to(self.options.device)
        texts = self.texts[range(len(NAMES)), rng.integers(len(SINGLE), size=len(NAMES))]
        with torch.autocast(self.options.device, enabled=False):
            places = F.normalize(self.network(trunk).float(), dim=1)
            logits = torch.einsum("kd,ndhw->nkhw", texts, places)
            logits = self.network.sharpness * logits + self.network.shift
            masks = logits.sigmoid()
            share = 1 / float(present.sum(axis=1).mean())
            total: Tensor = (
                recipe["region_weight"] * region_loss(masks, places, texts, there, self.scale)
                + recipe["area_weight"] * area_loss(masks, there, share)
                + recipe["smoothness_weight"] * smoothness_loss(masks[there])
            )
            if zoom == 1:  # a whole picture, which CLIP can look at
                chosen = [rng.choice(np.flatnonzero(row)) for row in present[: recipe["cut_out"]]]
                asked = torch.tensor(chosen, device=self.options.device)
                total = total + recipe["picture_weight"] * self._picture_loss(
                    logits, images, texts, asked
                )
        return total

    def _window(
        self, indices: npt.NDArray[np.int64], zoom: int, rng: np.random.Generator
    ) -> tuple[Trunk, npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """What enters CLIP's last block in a window, the window, and which classes it shows.

        Windows that show too little of any class are left out.
        """
        images, labels = self.bank.take(indices)
        cached, stride = self.tokens[zoom][torch.from_numpy(indices)], self.clip.stride
        grid, count = SIZE // stride, SIZE // stride * zoom
        row, column = (int(place) for place in rng.integers(count - grid + 1, size=2))
        top, left, side = (place * stride // zoom for place in (row, column, grid))
        present = presence(np.ascontiguousarray(labels[:, span(top, side), span(left, side)]))
        shown = present.any(axis=1)
        tokens = cached[torch.from_numpy(shown)].to(self.options.device).float()
        patches = tokens[:, 1:].reshape(len(tokens), count, count, -1)
        patches = patches[:, span(row, grid), span(column, grid)].flatten(1, 2)
        tokens = torch.cat([tokens[:, :1], patches], dim=1)
        visual = self.clip.visual
        trunk = Trunk(visual, visual.transformer.resblocks[-1], tokens, (grid, grid), {}, {})
        return trunk, images[shown], present[shown]

    def _picture_loss(
        self, logits: Tensor, images: npt.NDArray[np.uint8], texts: Tensor, asked: Tensor
    ) -> Tensor:
        """Whether CLIP calls what a mask cuts out by its text.

        The cut is hard, with logistic noise, and its gradient that of the soft one (Gumbel).
        """
        count = len(asked)
        own = logits[range(count), asked][:, None]
        uniform = torch.rand_like(own).clamp(1e-4, 1 - 1e-4)
        soft = (own + uniform.logit()).sigmoid()
        hard = (soft > 0.5).to(soft) + soft - soft.detach()
        pixels = imagenet_pixels(images[:count], SIZE).to(self.options.device)
        cut = pixels * F.interpolate(hard, pixels.shape[-2:], mode="nearest")
        seen = F.normalize(self.clip.visual(cut).float(), dim=-1)
        return F.cross_entropy(self.scale * seen @ texts.T, asked)


@torch.no_grad()
def tokens_of(clip: CLIP, bank: SceneBank, side: int) -> Tensor:
    """What enters CLIP's last block for all scenes, enlarged; ``(N, 1 + h * w, width)`` float16."""
    found = []
    for start in range(0, len(bank), _CHUNK):
        images, _ = bank.take(np.arange(start, min(start + _CHUNK, len(bank))))
        found.append(clip.trunk(imagenet_pixels(images, side)).tokens.half().cpu())
    return torch.cat(found)


def region_loss(
    masks: Tensor, places: Tensor, texts: Tensor, there: Tensor, scale: float
) -> Tensor:
    """What a text's mask holds is nearest to the text: among texts, and among pictures.

    The right answers are the classes that a picture shows, each against those that it does not,
    and the pictures that show a class, each against those that do not.

    Args:
        masks: ``(n, k, h, w)``.
        places: ``(n, d, h, w)``, of unit length.
        texts: ``(k, d)``.
        there: ``(n, k)`` bool.
        scale: factor on cosines.
    """
    held = torch.einsum("nkhw,ndhw->nkd", masks, places)
    logits = scale * torch.einsum("nkd,kd->nk", F.normalize(held, dim=-1), texts)
    absent = logits.masked_fill(there, -torch.inf)
    losses = [
        F.softplus(absent.logsumexp(dim=dim, keepdim=True) - logits)[there].mean() for dim in (0, 1)
    ]
    return (losses[0] + losses[1]) / 2


def area_loss(masks: Tensor, there: Tensor, share: float) -> Tensor:
    """Masks of what is there cover ``share`` in the mean, the others nothing."""
    areas = masks.mean(dim=(2, 3))
    return (areas[there].mean() - share).abs() + areas[~there].mean()


def smoothness_loss(masks: Tensor) -> Tensor:
    """Total variation of ``(m, h, w)``."""
    return masks.diff(dim=1).abs().mean() + masks.diff(dim=2).abs().mean()


class Score:
    """mIoU on scenes of the train split that the lesson does not have."""

    def __init__(self, network: MaskerNetwork, clip: CLIP) -> None:
        self.network, self.clip = network, clip
        first: int = RECIPE["scenes"]
        seeds = SPLITS["train"][first : first + RECIPE["scored_on"]]
        self.scenes = [render_scene(seed) for seed in seeds]

    def __call__(self) -> float:
        masker = Masker(copy.deepcopy(self.network), (), Runtime())
        labels = np.stack([scene.label for scene in self.scenes])
        found = [segment(self.clip, masker, self.scenes, side) for side in SIDES]
        return float(np.mean([miou(guesses, labels, len(NAMES)) for guesses in found]))


def _card(clip: CLIP, weights: Path) -> Card:
    """The card, with figures of the masker as it is loaded from disk."""
    network = read_network(weights.parent, clip)
    scenes = [render_scene(seed) for seed in SPLITS["val"][:EVALUATED]]
    size = millions(network)
    figures = measure(clip, Masker(network, (), Runtime()), scenes)
    return Card(
        "tcl",
        f"TCL's masker on `toyworld/clip`: its last block again, two gated convolutions that "
        f"double the grid of patches, and a projection; {size} parameters",
        SUPERVISION,
        RECIPE | {"clip_sha256": clip.checkpoint.sha256},
        {"validation_scenes": EVALUATED} | figures,
        weights,
    )
