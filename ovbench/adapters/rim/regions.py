"""What is recognised as one: proposals of SAM, kept on disk, and what they leave."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ovbench.adapters.rim.settled import Settled
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.regions.sam_grids import SamGrid
from ovbench.models.regions.store import Regions
from ovbench.models.sam.promptable import PromptableSegmenter


def proposals_of(sam: PromptableSegmenter, settings: Settled, runtime: Runtime) -> Regions:
    """Class-agnostic masks and SAM's estimate of each."""
    generator = SamGrid(
        settings.sam,
        settings.points_per_side,
        settings.predicted_iou,
        settings.stability,
        settings.box_overlap,
    )
    return Regions(generator, runtime, generator.ready(sam))


def with_remainder(
    masks: npt.NDArray[np.bool_], estimates: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
    """Make what no mask covers a region of its own, the last one, with an estimate of 0."""
    remainder: npt.NDArray[np.bool_] = ~np.any(masks, axis=0)
    if not remainder.any():
        return masks, estimates
    return np.concatenate([masks, remainder[None]]), np.append(estimates, np.float32(0))
