"""SAM and SAM 2 at every point of a grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import setting
from ovbench.models.regions.generator import ReadyGenerator
from ovbench.models.regions.maps import MaskArray, ScoreArray
from ovbench.models.sam.loading import load_promptable
from ovbench.models.sam.promptable import EncodedImage, PromptableSegmenter
from ovbench.models.sam.proposals import ProposalSettings, points_together, propose

_BOTH = "SamAutomaticMaskGenerator and SAM2AutomaticMaskGenerator"


@dataclass(frozen=True)
class SamGrid:
    """SAM asked at every point of a grid."""

    weights: str = setting(
        "sam_vit_h", "segment-anything's default", "SAM in the catalogue", picks="sam/{weights}"
    )
    points_per_side: int = setting(32, _BOTH, "of the grid of prompts", least=1, most=256)
    predicted_iou: float = setting(
        0.88, "SamAutomaticMaskGenerator", "masks whose estimate is not above it are dropped",
        least=0, most=1,
    )  # fmt: skip
    stability: float = setting(
        0.95, _BOTH, "masks whose stability is below it are dropped", least=0, most=1
    )
    box_overlap: float = setting(
        0.7, _BOTH, "of masks whose boxes have a higher IoU one is kept", least=0, most=1
    )
    multimask: bool = setting(
        True,
        "SAM2AutomaticMaskGenerator, multimask_output; SamAutomaticMaskGenerator asks for three",
        "three masks a point instead of one",
    )

    def load(self, runtime: Runtime) -> ReadyGenerator:
        """See :class:`Generator`."""
        return self.ready(load_promptable(self.weights, runtime))

    def ready(
        self, sam: PromptableSegmenter, encode: Callable[[Image], EncodedImage] | None = None
    ) -> ReadyGenerator:
        """As :meth:`load`, on a network that a method has loaded for other prompts as well.

        Args:
            encode: instead of the network's own, of a method that has embedded the image already.
        """
        encode = encode or sam.encode

        def masks(image: Image) -> tuple[MaskArray, ScoreArray]:
            settings = ProposalSettings(
                points_per_side=self.points_per_side,
                points_per_batch=points_together((image.shape[0], image.shape[1])),
                pred_iou_thresh=self.predicted_iou,
                stability_score_thresh=self.stability,
                box_nms_thresh=self.box_overlap,
            )
            found = propose(sam, encode(image), settings, multimask=self.multimask)
            return found.masks, found.predicted_iou

        return ReadyGenerator(masks, sam.checkpoints, "")


@dataclass(frozen=True)
class Sam2Grid(SamGrid):
    """SAM 2 asked at every point of a grid."""

    weights: str = setting(
        "sam2.1_hiera_large",
        "SAM2AutomaticMaskGenerator, whose defaults are chosen for Hiera-L",
        "SAM 2 in the catalogue or a hub id",
        picks="sam/{weights}",
    )
    predicted_iou: float = setting(
        0.8, "SAM2AutomaticMaskGenerator", "masks whose estimate is not above it are dropped",
        least=0, most=1,
    )  # fmt: skip
