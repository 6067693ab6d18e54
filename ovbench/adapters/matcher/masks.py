"""Masks for many prompts on one picture, without the poor and the doubled ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ovbench.adapters.matcher.drawing import Points
from ovbench.models.sam.promptable import EncodedImage, PromptableSegmenter

BATCH = 64
"""Prompts that SAM answers together."""

OFFSET = 1.0
"""Stability is the IoU of a mask at two thresholds, so far above and below, in logits."""


@dataclass(frozen=True, slots=True)
class Asking:
    """How SAM is asked.

    Attributes:
        prompts: per number of points ``(b, number, 2)``, all of them inside the object.
        box: left, top, right and bottom, that goes with every prompt, or None.
        multimask: three masks for each.
        pred_iou: that a mask must exceed; 0 takes all.
        stability: that a mask must have; 0 takes all.
    """

    prompts: Sequence[Points]
    box: Points | None
    multimask: bool
    pred_iou: float
    stability: float

    def without_filters(self) -> Asking:
        """The same, whose masks all pass."""
        return replace(self, pred_iou=0.0, stability=0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Masks ``(n, S, S)`` bool, their predicted IoU ``(n,)`` and boxes around them ``(n, 4)``."""

    masks: Tensor
    iou: Tensor
    boxes: Tensor

    @classmethod
    def of(cls, masks: Tensor, iou: Tensor) -> Found:
        """Masks whose boxes are not known yet."""
        from segment_anything.utils.amg import batched_mask_to_box

        return cls(masks, iou, batched_mask_to_box(masks).float())

    def best(self) -> Found:
        """The one mask of the highest predicted IoU."""
        place = self.iou.argmax()
        return Found(self.masks[place][None], self.iou[place][None], self.boxes[place][None])


@torch.inference_mode()
def ask(sam: PromptableSegmenter, encoded: EncodedImage, asking: Asking) -> Found:
    """The masks that pass; none is possible."""
    parts = [
        _answer(sam, encoded, batch, asking)
        for prompts in asking.prompts
        for batch in torch.split(torch.as_tensor(prompts), BATCH)
    ]
    return Found.of(*(torch.cat(some) for some in zip(*parts, strict=True)))


def without_doubles(parts: Sequence[Found], threshold: float) -> npt.NDArray[np.bool_]:
    """Of masks whose boxes overlap by more than the threshold, the best by predicted IoU.

    Only what stays is copied: a grid has many masks, and every class meets them anew.
    """
    from torchvision.ops import nms  # type: ignore[import-untyped]

    boxes, iou = (torch.cat([getattr(p, name) for p in parts]) for name in ("boxes", "iou"))
    kept = nms(boxes, iou, threshold)
    masks = kept.new_empty((len(kept), *parts[0].masks.shape[1:]), dtype=torch.bool)
    first = 0
    for part in parts:
        own = (first <= kept) & (kept < first + len(part.masks))
        masks[own] = part.masks[kept[own] - first]
        first += len(part.masks)
    answer: npt.NDArray[np.bool_] = masks.cpu().numpy()
    return answer


def _answer(
    sam: PromptableSegmenter, encoded: EncodedImage, points: Tensor, asking: Asking
) -> tuple[Tensor, Tensor]:
    """Masks and their predicted IoU."""
    from segment_anything.utils.amg import calculate_stability_score

    count, number = points.shape[:2]
    places = sam.to_input(points.reshape(-1, 2).numpy(), encoded).float().reshape(count, number, 2)
    box = None if asking.box is None else sam.to_input(asking.box, encoded).float().reshape(1, 4)
    low_res, iou, _ = sam.decode_many(
        encoded,
        points=places,
        labels=torch.ones((count, number), dtype=torch.int, device=sam.device),
        boxes=None if box is None else box.expand(count, -1),
        multimask=asking.multimask,
        above=asking.pred_iou,
    )
    logits = sam.upscale(low_res[:, None], encoded)[:, 0]
    threshold = sam.mask_threshold
    masks = logits > threshold
    if asking.stability > 0:
        stable = calculate_stability_score(logits, threshold, OFFSET) >= asking.stability
        masks, iou = masks[stable], iou[stable]
    return masks, iou
