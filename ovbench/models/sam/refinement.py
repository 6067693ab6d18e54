"""Coarse labels redrawn by SAM: every region of a class is a box, a point and a mask prompt.

Shi et al., "Harnessing Vision Foundation Models for High-Performance, Training-Free Open Vocabulary
Segmentation" (Trident, ICCV 2025); released code: github.com/YuHengsss/Trident,
seg_utils/utils.py, sam_refinement.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ovbench.harness.contract.arrays import LabelMap
from ovbench.models.sam.model import Sam
from ovbench.models.sam.promptable import EncodedImage, PromptableSegmenter

AT_A_TIME = 16
"""Prompts that are answered together; at 1024 x 2048 pixels their logits take 134 MB."""


class Prompts(NamedTuple):
    """What SAM is asked about one class, in the frame of its input.

    Attributes:
        points: ``(k, 2)`` float32, x and y of each region's most probable place.
        boxes: ``(k, 4)`` float32: left, top, right, bottom around each region.
        mask: ``(h, w)`` float32, a mask prompt that all regions share.
    """

    points: Tensor
    boxes: Tensor
    mask: Tensor


Answering = Callable[[Prompts], Iterable[Tensor]]
"""From prompts to the logits of the masks that are good enough, ``(m, H, W)`` a portion."""


@dataclass(frozen=True, slots=True)
class Refinement:
    """How regions are found and asked for.

    Attributes:
        above: probability below which a place belongs to no region, at half size.
        least_area: places of the smallest region, at half size.
        weight: factor on probabilities in the mask prompt.
        side, mask_side: of SAM's input and of its mask prompts, in pixels.
    """

    above: float
    least_area: int
    weight: float
    side: int = 1024
    mask_side: int = 256

    def labels(
        self,
        coarse: Tensor,
        classes: Sequence[int],
        probability: Callable[[int], Tensor],
        answer: Answering,
    ) -> Tensor:
        """The labels redrawn.

        A mask of a class counts there with its own probability times the class's; the largest
        wins, and where no mask is the coarse label stays. In the released function a rejected
        region raises scores, but its comparison comes too late to change a label.

        Args:
            coarse: ``(H, W)`` integers.
            classes: all that compete, in ascending order.
            probability: of a class at every pixel, ``(H, W)`` float32.

        Returns:
            ``(H, W)``, of coarse's dtype.
        """
        labels, best = coarse.clone(), torch.zeros(coarse.shape, device=coarse.device)
        for label, prompts in self.prompts(coarse, classes, probability):
            found = torch.zeros_like(best)
            for logits in answer(prompts):
                strongest = logits.amax(dim=0)
                drawn = torch.where(strongest > 0, strongest.sigmoid(), 0)
                found = torch.maximum(found, drawn)
            value = found * probability(label)
            labels = torch.where(value > best, label, labels)
            best = torch.maximum(best, value)
        return labels

    def prompts(
        self, coarse: Tensor, classes: Sequence[int], probability: Callable[[int], Tensor]
    ) -> Iterator[tuple[int, Prompts]]:
        """Of every class that has regions its prompts; see :meth:`labels`."""
        from scipy import ndimage

        size = coarse.shape[0], coarse.shape[1]
        half = max(size[0] // 2, 1), max(size[1] // 2, 1)
        small = functional.interpolate(coarse[None, None].float(), half)[0, 0].int()
        present = set(small.flatten().tolist())
        best = torch.zeros(half, device=coarse.device)
        for one in classes:
            best = torch.maximum(best, _resized(probability(one), half))
        sure = best >= self.above
        for one in classes:
            if one not in present:
                continue
            likely = _resized(probability(one), half)
            if likely.max() < self.above:
                continue
            region = ((small == one) & sure).cpu().numpy()
            numbers, _ = ndimage.label(region, structure=np.ones((3, 3)))  # diagonals join
            areas = np.bincount(numbers.ravel())
            kept = [i for i in range(1, len(areas)) if areas[i] >= self.least_area]
            if kept:
                regions = [torch.from_numpy(numbers == i).to(likely.device) for i in kept]
                yield one, self._asked(regions, likely, size)

    def _asked(self, regions: Sequence[Tensor], likely: Tensor, size: tuple[int, int]) -> Prompts:
        points, boxes = [], []
        for region in regions:
            rows, columns = region.any(dim=1).nonzero(), region.any(dim=0).nonzero()
            boxes.append([int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])])
            top, left = divmod(int((likely * region).argmax()), likely.shape[1])
            points.append([left, top])
        height, width = likely.shape
        tall, wide = _longest((height, width), self.side)
        scale = torch.tensor([wide / width, tall / height], device=likely.device)
        tall, wide = _longest(size, self.mask_side)
        mask = _resized(likely, (tall, wide))
        mask = torch.where(mask > self.above, self.weight * mask, 0)
        return Prompts(
            likely.new_tensor(points) * scale,
            likely.new_tensor(boxes) * scale.repeat(2),
            functional.pad(mask, (0, self.mask_side - wide, 0, self.mask_side - tall)),
        )


def redrawn(
    sam: Sam,
    encoded: EncodedImage,
    coarse: LabelMap,
    classes: Collection[int],
    probability: Callable[[int], Tensor],
    *,
    above: float,
    least_area: int,
    weight: float,
    predicted_iou: float,
) -> LabelMap:
    """Labels redrawn by one SAM; see :meth:`Refinement.labels` for what is not told here.

    Args:
        encoded: the image, in any size.
        coarse: ``(H, W)``.
        classes: all that compete, in any order.
        above, least_area, weight: see :class:`Refinement`.
        predicted_iou: that masks must pass.
    """
    refinement = Refinement(
        above, least_area, weight, sam.image_size, sam.model.prompt_encoder.mask_input_size[0]
    )
    height, width = coarse.shape
    answer = asking(sam, encoded, (height, width), predicted_iou)
    labels = torch.from_numpy(coarse.astype(np.int64)).to(sam.device)
    found = refinement.labels(labels, sorted(set(classes)), probability, answer)
    changed: LabelMap = found.cpu().numpy().astype(coarse.dtype)
    return changed


def asking(
    sam: PromptableSegmenter, encoded: EncodedImage, size: tuple[int, int], above: float
) -> Answering:
    """Answers by SAM, one mask a prompt.

    Args:
        encoded: the image, in any size.
        size: height and width that masks are wanted at.
        above: predicted IoU of the masks that count.
    """

    def answer(prompts: Prompts) -> Iterator[Tensor]:
        several = zip(
            torch.split(prompts.points, AT_A_TIME),
            torch.split(prompts.boxes, AT_A_TIME),
            strict=True,
        )
        for points, boxes in several:
            low_res, _, _ = sam.decode_many(
                encoded,
                points=points[:, None],
                labels=torch.ones(len(points), 1, dtype=torch.int, device=points.device),
                boxes=boxes,
                mask=prompts.mask,
                multimask=False,
                above=above,
            )
            if len(low_res):
                logits = sam.upscale(low_res[:, None], encoded)
                if logits.shape[-2:] != size:
                    logits = functional.interpolate(logits, size, mode="bilinear")
                yield logits[:, 0]

    return answer


def _resized(plane: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(plane[None, None], size, mode="bilinear")[0, 0]


def _longest(size: tuple[int, int], side: int) -> tuple[int, int]:
    """As SAM resizes: the longer side becomes this."""
    scale = side / max(size)
    height, width = (max(1, int(length * scale + 0.5)) for length in size)
    return height, width
