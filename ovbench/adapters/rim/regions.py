"""What is recognised as one: proposals of SAM, and what they leave."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ovbench.adapters.rim.settled import Settled
from ovbench.harness.contract.arrays import Image
from ovbench.models.sam.promptable import PromptableSegmenter
from ovbench.models.sam.proposals import ProposalSettings, points_together, propose


def propose_regions(
    sam: PromptableSegmenter, image: Image, settings: Settled
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
    """Class-agnostic masks of an image, ``(P, H, W)``, and SAM's estimate of each, ``(P,)``."""
    found = propose(
        sam,
        sam.encode(image),
        ProposalSettings(
            points_per_side=settings.points_per_side,
            points_per_batch=points_together((image.shape[0], image.shape[1])),
            pred_iou_thresh=settings.predicted_iou,
            stability_score_thresh=settings.stability,
            box_nms_thresh=settings.box_overlap,
        ),
    )
    return found.masks, found.predicted_iou


def with_remainder(
    masks: npt.NDArray[np.bool_], estimates: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
    """Make what no mask covers a region of its own, the last one, with an estimate of 0."""
    remainder: npt.NDArray[np.bool_] = ~np.any(masks, axis=0)
    if not remainder.any():
        return masks, estimates
    return np.concatenate([masks, remainder[None]]), np.append(estimates, np.float32(0))
