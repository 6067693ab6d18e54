"""How well a patch encoder tells the world's classes apart, patch by patch.

A patch gets the class of the nearest class mean (cosine). The means come from ``train``
scenes, so that the figures say what the features are worth and not what a classifier
trained on them can make up for.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from ovbench.models.patches.encoder import PatchEncoder, Reading
from ovbench.toyworld.quality.inputs import scene_inputs
from ovbench.toyworld.scene import Scene, render_scene
from ovbench.toyworld.world import NAMES, SIZE, SPLITS

READINGS = (Reading(-1, "token"), Reading(-1, "key"))

SIDES = (SIZE, 2 * SIZE)
"""Input sizes in pixels: as rendered, and enlarged."""

MEAN_SCENES = 200
"""Scenes of the ``train`` split that the class means are taken from."""

PURE = 0.9
"""The share of a patch that one class must fill for the patch to count in that class's mean."""

_BATCH = 20


def measure(model: PatchEncoder, scenes: Sequence[Scene]) -> dict[str, float]:
    """The share of patches that get the class most of their pixels have.

    Keys are ``"patch_accuracy_..."`` (over all patches) and ``"class_accuracy_..."`` (each
    class's share, averaged over the classes), with the facet of the last block and the
    input's side.
    """
    known = [render_scene(seed) for seed in SPLITS["train"][-MEAN_SCENES:]]
    results = {}
    for side, reading in product(SIDES, READINGS):
        features, shares = encode(model, known, side, reading)
        means = class_means(features, shares)
        features, shares = encode(model, scenes, side, reading)
        hits, truth = (features @ means.T).argmax(dim=1), shares.argmax(dim=1)
        suffix = f"{reading.facet}_{side}px"
        results[f"patch_accuracy_{suffix}"], results[f"class_accuracy_{suffix}"] = accuracy(
            hits, truth
        )
    return results


def encode(
    model: PatchEncoder, scenes: Sequence[Scene], side: int, reading: Reading
) -> tuple[Tensor, Tensor]:
    """Every patch's feature ``(n, d)``, of length 1, and its classes' shares ``(n, 15)``."""
    features = []
    for start in range(0, len(scenes), _BATCH):
        (found,) = model.read(scene_inputs(model, scenes[start : start + _BATCH], side), reading)
        features.append(found.patches.permute(0, 2, 3, 1).cpu())
    grid = side // model.patch_size
    shares = class_shares(np.stack([scene.label for scene in scenes]), grid)
    return F.normalize(torch.cat(features).flatten(0, 2), dim=1), shares.flatten(0, 2)


def class_shares(labels: npt.NDArray[np.uint8], grid: int) -> Tensor:
    """How much of each cell of a ``grid`` by ``grid`` each class fills.

    Args:
        labels: ``(N, SIZE, SIZE)``.

    Returns:
        ``(N, grid, grid, 15)`` float32.
    """
    maps = F.one_hot(torch.from_numpy(labels).long(), len(NAMES)).permute(0, 3, 1, 2).float()
    return F.adaptive_avg_pool2d(maps, grid).permute(0, 2, 3, 1)


def class_means(features: Tensor, shares: Tensor) -> Tensor:
    """The mean feature of each class's pure patches, ``(15, d)`` of length 1."""
    pure = (shares >= PURE).float()
    return F.normalize(pure.T @ features, dim=1)


def accuracy(hits: Tensor, truth: Tensor) -> tuple[float, float]:
    """Over all patches, and averaged over the classes that occur."""
    right = (hits == truth).double()
    count = truth.bincount().double()
    by_class = truth.bincount(weights=right)[count > 0] / count[count > 0]
    return round(float(right.mean()), 4), round(float(by_class.mean()), 4)
