"""What an image-text matcher is worth: as a judge of captions, and as a finder of classes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from ovbench.models.matchers.matcher import CrossAttention, ImageFeatures, Matcher
from ovbench.toyworld.captions import caption
from ovbench.toyworld.quality.inputs import scene_inputs
from ovbench.toyworld.quality.localisation import miou
from ovbench.toyworld.scene import Scene, render_scene
from ovbench.toyworld.world import NAMES, SIZE, SPLITS

CHOOSING_SCENES = 40
"""Scenes of the ``val`` split on which the attention's layer and head are chosen."""

SINGLE = "a photo of a {}."
"""Asks for one class, where the matcher serves as a filter of classes."""


Maps: TypeAlias = Callable[[Matcher, ImageFeatures, int], Tensor]
"""From a matcher, images and a layer to ``(B, heads, 15, SIZE, SIZE)``."""


class Place(NamedTuple):
    """A layer and a head of the text-to-image attention, both from 0."""

    layer: int
    head: int


def measure(model: Matcher, scenes: Sequence[Scene]) -> dict[str, float]:
    """How well a matcher judges captions, filters classes and localises them.

    ``itm_accuracy`` is the share of right answers, at a probability of one half, to captions
    that are true and to the same captions with one class word swapped for an absent class's;
    ``itm_ranking`` the share of pairs in which the true one matches better. ``filter_...`` ask
    for every class by itself. ``gradcam_...`` and ``attention_...`` are the mIoU, in percent, of
    the class whose map is highest at a pixel, with all classes in one prompt, and the layer
    and head that do best on scenes of ``val``.
    """
    features = encode(model, scenes)
    return {
        **judge(model, features, scenes),
        **filter_classes(model, features, scenes),
        **_localised("gradcam", gradcam, model, features, scenes),
        **_localised("attention", attention, model, features, scenes),
    }


def _localised(
    kind: str, maps: Maps, model: Matcher, features: ImageFeatures, scenes: Sequence[Scene]
) -> dict[str, float]:
    chosen_on = [render_scene(seed) for seed in SPLITS["val"][:CHOOSING_SCENES]]
    place = best_place(model, chosen_on, maps)
    labels = np.stack([scene.label for scene in scenes])
    guesses = maps(model, features, place.layer)[:, place.head].argmax(dim=1)
    return {
        f"{kind}_miou_15": miou(guesses.cpu().numpy(), labels, len(NAMES)),
        f"{kind}_layer": place.layer,
        f"{kind}_head": place.head,
    }


def encode(model: Matcher, scenes: Sequence[Scene]) -> ImageFeatures:
    """Scenes as the matcher sees them, at the size that it was trained on."""
    return model.encode_images(scene_inputs(model, scenes, model.image_size))


def judge(model: Matcher, features: ImageFeatures, scenes: Sequence[Scene]) -> dict[str, float]:
    """Captions that are true against the same with one word swapped."""
    rng = np.random.default_rng(0)
    answers = []
    for i, scene in enumerate(scenes):
        true = caption(scene.present, rng)
        old = scene.present[rng.integers(len(scene.present))]
        new = rng.choice([name for name in NAMES if name not in scene.present])
        swapped = re.sub(rf"\b{old}\b", str(new), true)
        answers.append(model.match(features[i : i + 1], [true, swapped]).probabilities[0])
    right, wrong = torch.stack(answers).unbind(dim=1)
    return {
        "itm_accuracy": _share(torch.cat([right > 0.5, wrong <= 0.5])),
        "itm_ranking": _share(right > wrong),
    }


def filter_classes(
    model: Matcher, features: ImageFeatures, scenes: Sequence[Scene]
) -> dict[str, float]:
    """Every class asked for by itself, kept at a probability above one half."""
    texts = [SINGLE.format(name) for name in NAMES]
    kept = model.match(features, texts).probabilities.cpu() > 0.5
    present = torch.tensor([[name in scene.present for name in NAMES] for scene in scenes])
    return {
        "filter_precision": _share(present[kept]),
        "filter_recall": _share(kept[present]),
    }


def best_place(model: Matcher, scenes: Sequence[Scene], maps: Maps) -> Place:
    """The layer and the head whose maps tell the classes apart best."""
    features = encode(model, scenes)
    labels = np.stack([scene.label for scene in scenes])
    scores = {}
    for layer in range(model.layers):
        heads = maps(model, features, layer).argmax(dim=2).cpu().numpy()
        for head in range(model.heads):
            scores[Place(layer, head)] = miou(heads[:, head], labels, len(NAMES))
    return max(scores, key=lambda place: scores[place])


def gradcam(model: Matcher, features: ImageFeatures, layer: int) -> Tensor:
    """Attention times its gradient where that is positive, for a prompt of all classes.

    Returns:
        ``(B, heads, 15, SIZE, SIZE)`` float32, bilinear.
    """
    return _maps(model, features, layer, _weighted)


def attention(model: Matcher, features: ImageFeatures, layer: int) -> Tensor:
    """Attention alone, otherwise as :func:`gradcam`."""
    return _maps(model, features, layer, lambda seen: seen.probabilities)


def _weighted(seen: CrossAttention) -> Tensor:
    return seen.probabilities * seen.gradients.clamp_min(0)


def _maps(
    model: Matcher, features: ImageFeatures, layer: int, read: Callable[[CrossAttention], Tensor]
) -> Tensor:
    (prompt,) = model.prompts(NAMES)
    tokens = read(model.cross_attention(features, [prompt] * len(features), layer))
    words = torch.stack([tokens[:, :, list(at)].mean(dim=2) for at in prompt.positions], dim=2)
    enlarged = F.interpolate(words.flatten(0, 1), (SIZE, SIZE), mode="bilinear")
    return enlarged.reshape(*words.shape[:3], SIZE, SIZE)


def _share(hits: Tensor | npt.NDArray[np.bool_]) -> float:
    return round(float(torch.as_tensor(hits).float().mean()), 4)
