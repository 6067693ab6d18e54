"""Where a reference picture shows its class: attention says about where, SAM cuts it out."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from ovbench.adapters.rim.settled import Settled
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.progress import Advance
from ovbench.models.sam.promptable import PromptableSegmenter
from ovbench.support import SupportSet

Mask = npt.NDArray[np.bool_]


class Foreground(NamedTuple):
    """What was found in the pictures of a class.

    Attributes:
        masks: ``(N, H, W)`` bool; none is empty.
        from_attention: ``(N,)`` bool, where SAM's mask was empty and the attention's is taken.
    """

    masks: Mask
    from_attention: Mask


def foreground(
    support: SupportSet,
    settings: Settled,
    sam: PromptableSegmenter | None,
    seed: int,
    advance: Advance,
) -> Foreground:
    """Cut the class out of its pictures.

    Args:
        sam: None for the binarised attention alone.
        seed: with the name and the picture's index it seeds the points.
        advance: told of every picture.
    """
    masks, fallen_back = [], []
    for index, (image, attention) in enumerate(
        zip(support.images, support.attribution, strict=True)
    ):
        region = binary_region(attention, image.shape[:2], settings)
        mask = region
        if sam is not None:
            mask = _cut_out(sam, image, region, settings, _generator(seed, support.name, index))
        fallen_back.append(not mask.any())
        masks.append(mask if mask.any() else region)
        advance(1)
    return Foreground(np.stack(masks), np.array(fallen_back))


def binary_region(
    attention: npt.NDArray[np.float32], size: tuple[int, ...], settings: Settled
) -> Mask:
    """The pixels where an attention map reaches the threshold; never empty.

    Args:
        attention: ``(h, w)``, not negative.
        size: height and width of the picture, to which the map is enlarged bilinearly.

    Returns:
        ``size`` bool. Where nothing reaches the threshold, the pixels with the largest value.
    """
    planes = torch.from_numpy(attention)[None, None]
    values = functional.interpolate(planes, size, mode="bilinear", align_corners=False)[0, 0]
    peak = values.max()
    wanted = settings.attention_threshold
    if settings.attention_scale == "peak":
        wanted *= float(peak)
    region: Mask = (values >= min(wanted, float(peak))).numpy()
    return region


def draw_points(region: Mask, count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Different random pixels of a region, or with repetition if it has too few.

    Returns:
        ``(count, 2)``, x and y.
    """
    rows, columns = np.nonzero(region)
    chosen = rng.choice(len(rows), count, replace=len(rows) < count)
    return np.stack([columns[chosen], rows[chosen]], axis=1).astype(np.float64)


def _cut_out(
    sam: PromptableSegmenter,
    image: Image,
    region: Mask,
    settings: Settled,
    rng: np.random.Generator,
) -> Mask:
    points = draw_points(region, settings.points, rng)
    found = sam.predict(
        sam.encode(image),
        points=points,
        labels=np.ones(len(points)),
        multimask=settings.several_masks,
    )
    mask: Mask = found.masks[int(found.iou.argmax())]
    return mask


def _generator(seed: int, name: str, index: int) -> np.random.Generator:
    """Random numbers of one picture, whatever else is in the vocabulary."""
    digest = hashlib.sha256(f"{seed}/{index}/{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
