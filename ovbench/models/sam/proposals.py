"""Class-agnostic proposals for a whole image: SAM asked at every point of a grid.

The algorithm of ``SamAutomaticMaskGenerator`` in ``segment_anything``, without crops and
without clean-up of small regions (both are off in its defaults). The proposals are the same
up to rounding. It is faster because the prompts share what they have in common, masks are made only
where their predicted IoU passes, and never take the way through run-length codes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ovbench.models.sam.promptable import EncodedImage, PromptableSegmenter

PROMPT_BYTES = 256 * 2**20
"""Full-size masks of the points that SAM is asked about together, three of each. Images of up to
350,000 pixels are asked about at 64 points at a time, as in segment-anything."""


@dataclass(frozen=True, slots=True)
class ProposalSettings:
    """The defaults of ``SamAutomaticMaskGenerator``.

    Attributes:
        points_per_side: of the grid of prompts.
        points_per_batch: prompts answered together.
        pred_iou_thresh: masks whose predicted IoU is not above it are dropped.
        stability_score_thresh: masks whose stability is below it are dropped.
        stability_score_offset: stability is the IoU of the masks at two thresholds, this far
            above and below the usual one, in logits.
        box_nms_thresh: of two masks whose boxes have a higher IoU, the better is kept.
    """

    points_per_side: int = 32
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """Masks in falling order of predicted IoU.

    Attributes:
        masks: ``(n, H, W)`` bool, at the image's size.
        boxes: ``(n, 4)`` int64: left, top, right, bottom, the last two inclusive.
        predicted_iou: ``(n,)`` float32, the model's own estimate.
        stability: ``(n,)`` float32, in 0..1.
        points: ``(n, 2)`` float64, the x and y that each mask answers, in pixels.
    """

    masks: npt.NDArray[np.bool_]
    boxes: npt.NDArray[np.int64]
    predicted_iou: npt.NDArray[np.float32]
    stability: npt.NDArray[np.float32]
    points: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.masks)


@dataclass(frozen=True, slots=True, eq=False)
class _Candidates:
    """Masks that passed the filters.

    At low resolution so that thousands fit in memory, and at the image's size, as bool, where none
    of them can be dropped any more.
    """

    masks: Tensor
    iou: Tensor
    stability: Tensor
    boxes: Tensor
    points: Tensor

    def __getitem__(self, keep: Tensor) -> _Candidates:
        return _Candidates(*(part[keep] for part in self._parts()))

    def _parts(self) -> tuple[Tensor, ...]:
        return self.masks, self.iou, self.stability, self.boxes, self.points

    @staticmethod
    def cat(batches: list[_Candidates]) -> _Candidates:
        """All of them, in order."""
        return _Candidates(*map(torch.cat, zip(*(b._parts() for b in batches), strict=True)))


@torch.inference_mode()
def propose(
    sam: PromptableSegmenter,
    encoded: EncodedImage,
    settings: ProposalSettings | None = None,
    *,
    multimask: bool = True,
) -> Proposals:
    """Masks of everything that a grid of points finds.

    Args:
        encoded: the image, from :meth:`PromptableSegmenter.encode`.
        settings: None for the defaults.
        multimask: three masks a point, as ``SamAutomaticMaskGenerator`` asks for, or one.
    """
    from torchvision.ops.boxes import batched_nms  # type: ignore[import-untyped]

    settings = settings or ProposalSettings()
    grid = point_grid(settings.points_per_side, encoded.size).to(sam.device)
    found = _Candidates.cat(
        [
            _candidates(sam, encoded, p, settings, multimask)
            for p in torch.split(grid, settings.points_per_batch)
        ]
    )
    if settings.box_nms_thresh < 1:
        one_class, boxes = torch.zeros_like(found.iou), found.boxes.float()
        found = found[batched_nms(boxes, found.iou, one_class, settings.box_nms_thresh)]
        masks = _masks(sam, encoded, found.masks, settings.points_per_batch)
    else:  # nothing is suppressed, and equals stay in the order of their points
        found = found[found.iou.argsort(descending=True, stable=True)]
        masks = found.masks.cpu().numpy()
    return Proposals(
        masks,
        *(part.cpu().numpy() for part in (found.boxes, found.iou, found.stability, found.points)),
    )


def points_together(size: tuple[int, int]) -> int:
    """For ``points_per_batch``: of an image of this height and width, 64 where they fit."""
    return min(max(PROMPT_BYTES // (3 * 4 * size[0] * size[1]), 1), 64)


def point_grid(per_side: int, size: tuple[int, int]) -> Tensor:
    """Cell centres of a grid over an image, row by row; ``(per_side ** 2, 2)`` float64 x, y."""
    from segment_anything.utils.amg import build_point_grid

    height, width = size
    return torch.as_tensor(build_point_grid(per_side) * np.array([width, height]))


def _candidates(
    sam: PromptableSegmenter,
    encoded: EncodedImage,
    points: Tensor,
    settings: ProposalSettings,
    multimask: bool,
) -> _Candidates:
    """The masks of one batch of points ``(b, 2)`` that pass the filters."""
    from segment_anything.utils.amg import batched_mask_to_box, calculate_stability_score

    places = sam.to_input(points.cpu().numpy(), encoded)[:, None]
    inside = torch.ones(places.shape[:2], dtype=torch.int, device=sam.device)
    low_res, iou, prompt = sam.decode_many(
        encoded,
        points=places,
        labels=inside,
        multimask=multimask,
        above=settings.pred_iou_thresh,
    )
    points = points[prompt]
    threshold = sam.mask_threshold
    logits = sam.upscale(low_res[:, None], encoded)[:, 0]
    stability = calculate_stability_score(logits, threshold, settings.stability_score_offset)
    masks = logits > threshold
    boxes = batched_mask_to_box(masks)
    kept = low_res if settings.box_nms_thresh < 1 else masks
    found = _Candidates(kept, iou, stability, boxes, points)
    if settings.stability_score_thresh > 0:
        found = found[stability >= settings.stability_score_thresh]
    return found


def _masks(
    sam: PromptableSegmenter, encoded: EncodedImage, low_res: Tensor, batch: int
) -> npt.NDArray[np.bool_]:
    """Masks at the image's size, a batch at a time on the device."""
    parts = [
        (sam.upscale(part[:, None], encoded)[:, 0] > sam.mask_threshold).cpu().numpy()
        for part in torch.split(low_res, batch)
    ]
    return np.concatenate(parts)
