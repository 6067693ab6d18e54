"""The miniature RADIO: one transformer that the miniatures of CLIP, DINOv2 and SAM teach.

As Ranzinger et al., "AM-RADIO" (CVPR 2024) do it: a student's tokens, led through a head for each
teacher, become what the teacher says of the same picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.clip.model import CLIP, load_clip
from ovbench.models.patches.encoder import PatchEncoder, load_patch_encoder
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD
from ovbench.models.radio.file import Released
from ovbench.models.radio.folder import CONFIG, WEIGHTS, read_folder
from ovbench.models.radio.heads import Head
from ovbench.models.radio.model import ROLE, SAM, TEACHERS, TEXT, Radio
from ovbench.models.sam.model import Sam, load_sam
from ovbench.toyworld.quality.distilled import encoder_output, measure
from ovbench.toyworld.quality.inputs import imagenet_pixels
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.train.running.card import Card, write_card
from ovbench.toyworld.train.running.device import plain_attention
from ovbench.toyworld.train.running.loop import fit, forget
from ovbench.toyworld.train.running.optimizer import adamw
from ovbench.toyworld.train.running.options import Options
from ovbench.toyworld.train.running.weights import millions, save_half
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.train.teaching.windows import draw_window, span
from ovbench.toyworld.world import SIZE, SPLITS

STEPS = 1200

MODEL: dict[str, Any] = {
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "mlp_ratio": 4.0,
    "patch_size": 8,
    "image_size": SIZE,
    "max_img_size": SIZE,
    "num_cls_tokens": 1,
    "num_registers": 3,
    "summary_idxs": [0],
    "norm_mean": IMAGENET_MEAN,
    "norm_std": IMAGENET_STD,
}

HIDDEN = 256
"""Width within a head."""

RECIPE: dict[str, Any] = {
    "scenes": 2400,  # of the train split
    "windows": [(96, 1.0), (64, 1.5), (48, 2.0)],  # side and enlargement; one per step
    "windows_batch": 16,
    "whole": 0.4,  # of the steps show whole scenes, which alone SAM and the summary are taught on
    "target_side": 2 * SIZE,  # pixels, of the scenes whose places CLIP and DINOv2 tell
    "weights": {"places": 1.0, "summary": 0.5, "dinov2": 1.0, "sam": 1.0},
    "learning_rate": 1e-3,
    "betas": [0.9, 0.98],
    "weight_decay": 0.02,
    "warmup": 50,
    "schedule": "cosine",
    "gradient_clip": 1.0,
}

SUPERVISION = (
    "Supervision: no labels, and no captions either, but teachers that had captions and masks. "
    "Tokens of train scenes, led through a head for each teacher, learn to be what the packaged "
    "miniatures of CLIP, DINOv2 and SAM say of the same places: CLIP's patches (the value path of "
    "its last block, on scenes of twice the size), DINOv2's last tokens and what SAM's encoder "
    "gives its neck. The head for CLIP learns its vectors of whole scenes from the class token as "
    "well: one head has both here, where the real model has a head each. The transformer starts "
    "from the packaged DINOv2; DINOv2's head is not kept."
)

EVALUATED = 200
"""Validation scenes that the card's figures are measured on."""

_CHUNK = 20
_DINO = "dinov2"


class Teachers(NamedTuple):
    """The packaged miniatures."""

    clip: CLIP
    dino: PatchEncoder
    sam: Sam


def train(options: Options) -> None:
    """Train, export to ``options.output``, write the card."""
    runtime = Runtime(device=options.device, checkpoints="toy")
    teachers = Teachers(
        load_clip("ViT-B-16", "openai", runtime),
        load_patch_encoder("dinov2", "dinov2_base", runtime),
        load_sam("sam_vit_b", runtime),
    )
    torch.manual_seed(options.seed)
    student = build(teachers).to(options.device).train()
    lesson = Lesson(student, teachers, options)
    optimizer = adamw(student.parameters(), RECIPE, RECIPE["learning_rate"])
    with plain_attention(options.device):
        seconds = fit(student, optimizer, lesson.loss, options, RECIPE["warmup"])
    export(student, lesson.sam_scale, options.output)
    write_card(_card(teachers, options.output), options, seconds)
    forget(options)


def build(teachers: Teachers) -> Released:
    """A student that starts as DINOv2 with untrained heads."""
    from transformers import RadioConfig, RadioModel

    trunk = RadioModel(RadioConfig(**MODEL))
    start_from_dino(trunk, teachers.dino)
    width = trunk.config.hidden_size
    joint = teachers.clip.joint_width
    channels = teachers.sam.model.image_encoder.neck[0].in_channels
    widths = {TEXT: joint, SAM: channels, _DINO: teachers.dino.width}
    heads = {name: Head(width, HIDDEN, out) for name, out in widths.items()}
    return Released(trunk, nn.Identity(), heads)


@torch.no_grad()
def start_from_dino(trunk: Any, dino: PatchEncoder) -> None:
    """Copy a ``Dinov2Model``'s blocks, whose layer scales go into the layers before them."""
    start = dino._model
    parts, given = trunk.embeddings, start.embeddings
    parts.patch_projection.weight.copy_(given.patch_embeddings.projection.weight.flatten(1))
    # RADIO's patches have no bias: it goes into their positions.
    places = given.position_embeddings[:, 1:] + given.patch_embeddings.projection.bias
    parts.position_embedding.copy_(places)
    parts.cls_register_token[0] = given.cls_token[0, 0] + given.position_embeddings[0, 0]
    own = trunk.encoder.state_dict()
    state = {name: one for name, one in start.encoder.state_dict().items() if name in own}
    for name in [name for name in state if "layer_scale" in name]:
        block, scale = name.split(".layer_scale")[0], state[name]
        layer = f"{block}.{'attention.o_proj' if 'layer_scale1' in name else 'mlp.fc2'}"
        state[f"{layer}.weight"] = state[f"{layer}.weight"] * scale[:, None]
        state[f"{layer}.bias"] = state[f"{layer}.bias"] * scale
        state[name] = torch.ones_like(scale)
    trunk.encoder.load_state_dict(state)
    for name, weight in trunk.named_parameters():  # RADIO has none
        weight.requires_grad_("layer_scale" not in name)


class Lesson:
    """The loss of one training step, which its number determines.

    Attributes:
        sam_scale: mean and deviation of what SAM's neck gets, by channel.
    """

    def __init__(self, student: Any, teachers: Teachers, options: Options) -> None:
        self.student, self.teachers, self.options = student, teachers, options
        self.bank = SceneBank(RECIPE["scenes"])
        self._places, self._whole = self._told_of_places(), self._told_of_scenes()
        rows = self._whole[1].float().movedim(1, -1).flatten(0, -2)
        self.sam_scale = rows.mean(dim=0), rows.std(dim=0)

    def _told_of_places(self) -> tuple[Tensor, Tensor]:
        """CLIP's and DINOv2's of all scenes, of unit length; ``(N, d, h, w)`` float16."""
        clip, found = self.teachers.clip, []
        mean, std = (torch.tensor(v)[:, None, None] for v in (clip.mean, clip.std))
        for images in self._chunks():
            pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std
            side = RECIPE["target_side"]
            large = F.interpolate(pixels, (side, side), mode="bicubic")
            values = clip.dense_features(large, residual=False).values
            tokens = self.teachers.dino.features(imagenet_pixels(images, side), norm=True)
            found.append([F.normalize(one, dim=1).half().cpu() for one in (values, tokens)])
        values, tokens = (torch.cat(parts) for parts in zip(*found, strict=True))
        return values, tokens

    def _told_of_scenes(self) -> tuple[Tensor, Tensor]:
        """CLIP's vectors of scenes ``(N, d)``, and what SAM's neck gets, ``(N, d, h, w)``."""
        clip, vectors, maps = self.teachers.clip, [], []
        mean, std = (torch.tensor(v)[:, None, None] for v in (clip.mean, clip.std))
        for images in self._chunks():
            pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std
            vectors.append(F.normalize(clip.encode_image(pixels).float(), dim=1).cpu())
            maps.append(encoder_output(self.teachers.sam, images).half().cpu())
        return torch.cat(vectors), torch.cat(maps)

    def _chunks(self) -> list[npt.NDArray[np.uint8]]:
        starts = range(0, len(self.bank), _CHUNK)
        return [
            self.bank.take(np.arange(start, min(start + _CHUNK, len(self.bank))))[0]
            for start in starts
        ]

    def loss(self, step: int) -> Tensor:
        """How far a batch is from what the teachers say of it."""
        rng = np.random.default_rng([self.options.seed, step])
        values, tokens = self._places
        cell = SIZE // values.shape[-1]
        whole = rng.random() < RECIPE["whole"]
        windows = RECIPE["windows"][:1] if whole else RECIPE["windows"][1:]
        window = draw_window(windows, cell, rng)
        indices = rng.choice(len(self.bank), RECIPE["windows_batch"], replace=False)
        images, _ = self.bank.take(indices)
        rows, columns = span(window.top, window.side), span(window.left, window.side)
        pixels = imagenet_pixels(images[:, rows, columns], round(window.side * window.zoom))
        summary, patches = self._read(pixels.to(self.options.device))
        grid = pixels.shape[-1] // MODEL["patch_size"]
        there = torch.from_numpy(indices)
        cut = [length // cell for length in (window.top, window.left, window.side)]
        weights, loss = RECIPE["weights"], patches.new_zeros(())
        for head, name, targets in ((TEXT, "places", values), (_DINO, "dinov2", tokens)):
            wanted = targets[there][:, :, span(cut[0], cut[2]), span(cut[1], cut[2])].float()
            resized = F.interpolate(wanted, (grid, grid), mode="bilinear", antialias=True)
            loss = loss + weights[name] * self._turned(head, patches, resized.flatten(2).mT)
        if whole:
            vectors, maps = self._whole
            mean, std = self.sam_scale
            loss = loss + weights["summary"] * self._turned(TEXT, summary, vectors[there])
            wanted = (maps[there].float().flatten(2).mT - mean) / std
            found = self.student.heads[SAM](patches).float()
            loss = loss + weights["sam"] * F.mse_loss(found, wanted.to(found.device))
        return loss

    def _read(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The class token ``(N, d)`` and patches ``(N, n, d)``."""
        trunk = self.student.trunk
        found = trunk.encoder(trunk.embeddings(pixels)).last_hidden_state
        return found[:, 0], found[:, trunk.config.num_summary_tokens :]

    def _turned(self, head: str, tokens: Tensor, wanted: Tensor) -> Tensor:
        """One minus the cosine, on average."""
        found = self.student.heads[head](tokens).float()
        return 1 - F.cosine_similarity(found, wanted.to(found.device), dim=-1).mean()


@torch.no_grad()
def export(student: Released, sam_scale: tuple[Tensor, Tensor], folder: Path) -> None:
    """Save configuration and weights, these in half precision.

    Args:
        sam_scale: mean and deviation that the head for SAM learned without.
    """
    mean, std = sam_scale
    last: Any = student.heads[SAM].final[-1]  # type: ignore[index]
    state = {
        name: weight
        for name, weight in student.named_parameters()
        if not name.startswith(f"heads.{_DINO}.")
    }
    state[f"heads.{SAM}.final.2.weight"] = last.weight * std.to(last.weight)[:, None]
    state[f"heads.{SAM}.final.2.bias"] = last.bias * std.to(last.bias) + mean.to(last.bias)
    folder.mkdir(parents=True, exist_ok=True)
    student.trunk.config.to_json_file(folder / CONFIG)
    save_half({name: weight.detach() for name, weight in state.items()}, folder / WEIGHTS)


def _card(teachers: Teachers, folder: Path) -> Card:
    """The card, with figures of the checkpoint as it is loaded from disk."""
    released = read_folder(folder, TEACHERS)
    scenes = [render_scene(seed) for seed in SPLITS["val"][:EVALUATED]]
    size = millions(released)
    figures = measure(Radio(released, (), Runtime()), teachers.clip, teachers.sam, scenes)
    records = {
        "clip": teachers.clip.checkpoint,
        "dinov2": teachers.dino.checkpoints[0],
        "sam": teachers.sam.checkpoints[0],
    }
    return Card(
        ROLE,
        f"`RadioModel` of transformers, {MODEL['num_hidden_layers']} layers of width "
        f"{MODEL['hidden_size']} with patch {MODEL['patch_size']}, and its heads for texts and "
        f"for SAM, {size} parameters",
        SUPERVISION,
        RECIPE
        | {"hidden": HIDDEN, "model": MODEL}
        | {"teachers_sha256": {name: record.sha256 for name, record in records.items()}},
        {"validation_scenes": EVALUATED} | figures,
        folder,
        origin="distilled on scenes of the embedded world",
    )
