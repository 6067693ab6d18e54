"""What each sheet of the gallery shows; every function returns rows of tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ovbench.models.clip.masker import Masker
from ovbench.models.clip.model import CLIP
from ovbench.models.diffusion.model import Diffusion, Request
from ovbench.models.grouping.groupvit import GroupViT
from ovbench.models.matchers.matcher import Matcher
from ovbench.models.patches.encoder import PatchEncoder
from ovbench.models.patches.saliency import Saliency
from ovbench.models.pixelwise.lseg import LSeg
from ovbench.models.sam.model import Sam
from ovbench.models.sam.proposals import ProposalSettings, propose
from ovbench.models.seggpt import SegGPT
from ovbench.toyworld.gallery.canvas import COLOURS, Tile, heat, paint, principal_colours, tint
from ovbench.toyworld.quality import grouping, in_context, masking, pixelwise
from ovbench.toyworld.quality.generation import PROMPT, SAMPLING
from ovbench.toyworld.quality.inputs import scene_inputs
from ovbench.toyworld.quality.matching import attention, best_place, encode
from ovbench.toyworld.scene import Scene
from ovbench.toyworld.world import NAMES, SIZE

Rows = list[list[Tile]]

SEED = 0
"""Of every generated picture, so that the sheet shows what comes out and not what was chosen."""


def world(scenes: Sequence[Scene]) -> Rows:
    """Scenes and their labels."""
    return [
        [Tile(scene.image, ", ".join(scene.present[:3])) for scene in scenes],
        [Tile(paint(scene.label), "labels") for scene in scenes],
    ]


def encoders(scenes: Sequence[Scene], models: Sequence[tuple[str, PatchEncoder]]) -> Rows:
    """The principal components of patch features; similar patches have similar colours."""
    rows = [[Tile(scene.image) for scene in scenes]]
    for name, model in models:
        features = model.features(scene_inputs(model, scenes, 2 * SIZE))
        colours = principal_colours(features.permute(0, 2, 3, 1).numpy())
        rows.append([Tile(_fill(image, scenes[0]), name) for image in colours])
    return rows


def groups(scenes: Sequence[Scene], model: GroupViT) -> Rows:
    """Which group each pixel belongs to most, a colour a group, and what the groups are called."""
    found = grouping.find(model, scenes, 2 * SIZE)
    used = [len(np.unique(places)) for places in found.groups]
    return [
        [Tile(scene.image) for scene in scenes],
        [
            Tile(paint(places), f"{count} groups")
            for places, count in zip(found.groups, used, strict=True)
        ],
        [Tile(paint(labels), "named") for labels in found.labels],
        [Tile(paint(scene.label), "labels") for scene in scenes],
    ]


def masker(scenes: Sequence[Scene], clip: CLIP, model: Masker) -> Rows:
    """The mask of each scene's first class, and the class of the largest mask at every pixel."""
    asked = [scene.present[0] for scene in scenes]
    images = np.stack([scene.image for scene in scenes])
    masks = masking.masks(clip, model, images, 2 * SIZE)
    chosen = [masks[i, NAMES.index(name)].numpy() for i, name in enumerate(asked)]
    return [
        [Tile(scene.image, name) for scene, name in zip(scenes, asked, strict=True)],
        [Tile(heat(m, s.image), "mask") for m, s in zip(chosen, scenes, strict=True)],
        [Tile(paint(labels), "largest") for labels in masks.argmax(dim=1).numpy()],
        [Tile(paint(scene.label), "labels") for scene in scenes],
    ]


def saliency(scenes: Sequence[Scene], model: Saliency) -> Rows:
    """What is foreground, whatever it is."""
    probabilities = model.predict(scene_inputs(model, scenes, 2 * SIZE))
    shown = torch.nn.functional.avg_pool2d(probabilities, 2).numpy()
    return [
        [Tile(scene.image) for scene in scenes],
        [Tile(heat(p), "probability") for p in shown],
        [Tile(tint(s.image, p > 0.5), "above 0.5") for s, p in zip(scenes, shown, strict=True)],
    ]


def places(scenes: Sequence[Scene], named: Mapping[str, npt.NDArray[np.int64]]) -> Rows:
    """The class that every place is nearest to: labels ``(N, H, W)`` by a model's name."""
    rows = [[Tile(scene.image) for scene in scenes]]
    for name, found in named.items():
        rows.append([Tile(paint(labels), name) for labels in found])
    return [*rows, [Tile(paint(scene.label), "labels") for scene in scenes]]


def naming(scenes: Sequence[Scene], model: LSeg, texts: Tensor) -> Rows:
    """The class whose name each pixel lies nearest to."""
    found = pixelwise.segment(model, texts, scenes)
    return [
        [Tile(scene.image) for scene in scenes],
        [Tile(paint(scene.label), "labels") for scene in scenes],
        [Tile(paint(labels.astype(np.uint8)), "LSeg") for labels in found],
    ]


def painting(
    scenes: Sequence[Scene], others: Sequence[Scene], models: Sequence[tuple[str, SegGPT]]
) -> Rows:
    """Each scene's first class as the next of the other scenes shows it, and what is painted."""
    shown: list[Tile] = []
    painted: Rows = [[] for _ in models]
    for place, scene in enumerate(scenes):
        name = scene.present[0]
        rotated = (*others[place:], *others[:place])
        other = next(candidate for candidate in rotated if name in candidate.present)
        label = NAMES.index(name)
        shown.append(Tile(tint(other.image, other.label == label), f"shown: {name}"))
        for row, (title, model) in zip(painted, models, strict=True):
            mask = in_context.paint(model, scene, other, label)
            row.append(Tile(tint(scene.image, mask), title))
    return [shown, [Tile(scene.image) for scene in scenes], *painted]


def proposals(scenes: Sequence[Scene], model: Sam, settings: ProposalSettings) -> Rows:
    """Everything that SAM cuts out unasked, small pieces over large ones."""
    found = [propose(model, model.encode(scene.image), settings) for scene in scenes]
    return [
        [Tile(scene.image) for scene in scenes],
        [
            Tile(_painted(masks.masks, scene), f"{len(masks)} proposals")
            for masks, scene in zip(found, scenes, strict=True)
        ],
    ]


def matching(scenes: Sequence[Scene], models: Sequence[tuple[str, Matcher]]) -> Rows:
    """Where the word of each scene's first class looks, in a prompt of all classes.

    Attention of the layer that localises best by it, averaged over its heads.
    """
    rows = [[Tile(scene.image, scene.present[0]) for scene in scenes]]
    for name, model in models:
        features = encode(model, scenes)
        layer = best_place(model, scenes, attention).layer
        maps = attention(model, features, layer).mean(dim=1)
        chosen = [maps[i, NAMES.index(scene.present[0])] for i, scene in enumerate(scenes)]
        tiles = [heat(m.numpy(), s.image) for m, s in zip(chosen, scenes, strict=True)]
        rows.append([Tile(tile, f"{name}, layer {layer + 1}") for tile in tiles])
    return rows


def generation(model: Diffusion, names: Sequence[str]) -> Rows:
    """Pictures made from one word each, and where that word acts in them."""
    requests = [Request(PROMPT.format(name), SEED, name=name) for name in names]
    made = model.generate(requests, SAMPLING)
    assert made.attribution is not None  # every request names its word
    maps = torch.nn.functional.interpolate(made.attribution[:, None], (SIZE, SIZE), mode="bicubic")
    return [
        [Tile(image, name) for image, name in zip(made.images, names, strict=True)],
        [Tile(heat(m.numpy(), i)) for m, i in zip(maps[:, 0].cpu(), made.images, strict=True)],
    ]


def _painted(masks: npt.NDArray[np.bool_], scene: Scene) -> npt.NDArray[np.uint8]:
    image = scene.image.copy()
    for i in np.argsort(-masks.sum(axis=(1, 2))):
        image[masks[i]] = 0.35 * image[masks[i]] + 0.65 * COLOURS[i % len(COLOURS)]
    return image


def _fill(image: npt.NDArray[np.uint8], scene: Scene) -> npt.NDArray[np.uint8]:
    """A grid of patches at the size of a scene."""
    times = scene.label.shape[0] // image.shape[0]
    return image.repeat(times, axis=0).repeat(times, axis=1)
