"""How well a CLIP localises classes that it learned from captions alone.

Dense features come from the value path of the last attention layer (MaskCLIP, Zhou et al.,
ECCV 2022), without and with that block's residual and MLP.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from ovbench.models.clip.model import CLIP
from ovbench.toyworld.scene import Scene
from ovbench.toyworld.world import NAMES, SIZE, THINGS

TEMPLATES = ("a photo of a {}.", "a photo of the {}.", "a picture of a {}.", "this is a {}.")

SIDES = (SIZE, 216)
"""Input sizes: as trained, and enlarged in the proportion 512 / 224 that MaskCLIP uses."""


def measure(clip: CLIP, scenes: Sequence[Scene]) -> dict[str, float]:
    """mIoU in percent.

    Keys are ``"miou_15..."`` (things and stuff) and ``"miou_11..."`` (the stuff names ask for
    background) with the input's side and, where residual and MLP are kept, ``"residual"``.
    """
    labels = np.stack([scene.label for scene in scenes])
    images = np.stack([scene.image for scene in scenes])
    results: dict[str, float] = {}
    for side, residual in product(SIDES, (False, True)):
        guesses = segment(clip, images, side, residual)
        suffix = f"{side}px" + ("_residual" if residual else "")
        results |= both(guesses, labels, suffix)
    return results


def both(
    guesses: npt.NDArray[np.int64], labels: npt.NDArray[np.uint8], suffix: str
) -> dict[str, float]:
    """mIoU over things and stuff, and with all stuff as background; ``(N, H, W)`` each."""
    folded = things_or_background(guesses), things_or_background(labels)
    return {
        f"miou_15_{suffix}": miou(guesses, labels, len(NAMES)),
        f"miou_11_{suffix}": miou(*folded, len(THINGS) + 1),
    }


@torch.inference_mode()
def segment(
    clip: CLIP, images: npt.NDArray[np.uint8], side: int, residual: bool
) -> npt.NDArray[np.int64]:
    """The class of the highest cosine at every pixel, ``(N, SIZE, SIZE)``."""
    texts = clip.embed_queries(NAMES, TEMPLATES)
    mean, std = (torch.tensor(v)[:, None, None] for v in (clip.mean, clip.std))
    guesses = []
    for start in range(0, len(images), 20):
        chunk = torch.from_numpy(images[start : start + 20]).permute(0, 3, 1, 2)
        pixels = F.interpolate((chunk / 255 - mean) / std, (side, side), mode="bicubic")
        features = F.normalize(clip.dense_features(pixels, residual=residual).values, dim=1)
        guesses.append(_enlarged(torch.einsum("ndhw,kd->nkhw", features, texts)).argmax(dim=1))
    labels: npt.NDArray[np.int64] = torch.cat(guesses).cpu().numpy()
    return labels


def _enlarged(scores: Tensor) -> Tensor:
    return F.interpolate(scores, (SIZE, SIZE), mode="bilinear", align_corners=False)


def things_or_background(labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return np.where(labels < len(THINGS), labels.astype(np.int64) + 1, 0)


def miou(guesses: npt.NDArray[Any], labels: npt.NDArray[Any], count: int) -> float:
    """Mean intersection over union over all pixels, in percent, to one decimal."""
    keys = labels.astype(np.int64) * count + guesses
    confusion = np.bincount(keys.ravel(), minlength=count * count).reshape(count, count)
    hits = confusion.diagonal()
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hits
    return round(float(100 * np.mean(hits / np.maximum(union, 1))), 1)
