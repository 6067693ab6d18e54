"""Settings of Matcher, where they come from, and what depends on the weights.

"Released code" is github.com/aim-uofa/Matcher, commit 10c1a91: ``main_oss.py`` and what its
scripts give it for each benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ovbench.errors import UsageError
from ovbench.harness.contract.settings import MANY, SIDE, setting
from ovbench.models.patches.encoder import PatchEncoder


@dataclass(frozen=True)
class MatcherSettings:
    """Settings of :class:`~ovbench.adapters.matcher.Matcher`."""

    encoder: str = setting(
        "dinov2_large",
        "released code, --dinov2-size",
        "DINOv2 of the catalogue, or a hub id",
        picks="dinov2/{encoder}",
    )
    sam: str = setting(
        "sam_vit_h",
        "released code, --sam-size",
        "which SAM or SAM 2",
        picks="sam/{sam}",
    )
    resolution: int | None = setting(
        None,
        "released code, --img-size: 518, which DINOv2 was trained on",
        "side of the square that pictures are squashed to, for both models; none is the size "
        "that the encoder was trained on",
        most=SIDE,
    )
    reference: Literal["mask", "saliency"] = setting(
        "mask",
        "released code; saliency: Matcher-Z of IPSeg, table 1",
        "where the object is in a prompt image: its mask, or what a saliency model finds",
    )
    saliency: str = setting(
        "found_dino_vits8",
        "our choice: IPSeg's TSDN is not on offer",
        "which saliency model, of the catalogue",
        picks="saliency/{saliency}",
    )
    saliency_threshold: float = setting(
        0.5,
        "FOUND, its own threshold",
        "probability above which a pixel is the object's",
        least=0,
        most=1,
    )
    prompts: Literal["points", "centres"] = setting(
        "points",
        "released code, scripts/coco.sh; centres: scripts/fss.sh",
        "what is drawn from: all matched points, or the centres of their clusters",
    )
    centres: int = setting(8, "released code, --num_centers", "clusters of k-means++", most=MANY)
    box: bool = setting(
        False, "released code, scripts/coco.sh", "prompt also with the box around all points"
    )
    fewest: int = setting(
        1, "released code, scripts/coco.sh, --sample-range", "points of a prompt", most=MANY
    )
    most: int = setting(
        6, "released code, scripts/coco.sh, --sample-range", "points of a prompt", most=MANY
    )
    samples: int = setting(
        64,
        "released code, scripts/coco.sh, --max_sample_iterations",
        "prompts of each number of points, drawn at random; of up to eight points, all are taken",
        most=MANY,
    )
    multimask: bool = setting(
        True, "released code, scripts/coco.sh, --multimask_output", "three masks for each prompt"
    )
    pred_iou: float = setting(
        0.85,
        "released code, scripts/coco.sh, --iou_filter",
        "predicted IoU that a mask must exceed; 0 takes all",
        least=0,
    )
    stability: float = setting(
        0.9,
        "released code, scripts/coco.sh, --sel_stability_score_thresh",
        "stability that a mask must have; 0 takes all",
        least=0,
        most=1,
    )
    grid: int = setting(
        64,
        "released code, scripts/coco.sh, --use_dense_mask, and --points_per_side",
        "points per side of a grid of further prompts, one mask each; 0 is no grid",
        most=256,
    )
    grid_pred_iou: float = setting(
        0.88, "released code, --pred_iou_thresh", "as pred_iou, for the grid", least=0
    )
    grid_stability: float = setting(
        0.95,
        "released code, --stability_score_thresh",
        "as stability, for the grid",
        least=0,
        most=1,
    )
    fallback: Literal["no_mask", "no_prompt"] = setting(
        "no_mask",
        "our choice: the released code fails where no mask passes the filters, and leaves the "
        "answer to the grid where no prompt's does",
        "when the prompts' best mask answers, unfiltered and alone: where no mask passes, or "
        "where none of the prompts' does",
    )
    nms: float = setting(
        0.65,
        "released code, scripts/coco.sh, --box_nms_thresh",
        "of two masks whose boxes have a higher IoU, the better is kept; 1 keeps all",
        least=0,
        most=1,
    )
    alpha: float = setting(
        1.0, "released code, scripts/coco.sh", "weight of the earth mover's score"
    )
    beta: float = setting(
        0.0, "released code, scripts/coco.sh", "weight of purity times coverage ** exponent"
    )
    exponent: float = setting(0.0, "released code, scripts/coco.sh, --exp", "of the coverage")
    emd_cells: int = setting(
        512,
        "our choice: quick, and within 0.002 of the exact distance in our tests; released code: "
        "exact, as with 0",
        "cells to which both sets are evenly repeated or thinned out for the earth mover's "
        "distance; it is exact where a common multiple fits; 0 solves a linear program",
        most=SIDE,
    )
    least_coverage: float = setting(
        0.0,
        "released code, --coverage_filter",
        "masks below it are dropped, but for the best",
        least=0,
        most=1,
    )
    least_purity: float = setting(
        0.02,
        "released code, scripts/coco.sh, --purity_filter",
        "the same, for purity",
        least=0,
        most=1,
    )
    least_emd: float = setting(
        0.0, "released code, --emd_filter", "the same, for the earth mover's score"
    )
    merge_by: Literal["distance", "share"] = setting(
        "distance",
        "released code, scripts/coco.sh, --use_score_filter; share: scripts/fss.sh",
        "which masks are joined: by distance, 1 - score, or by the share of the best score",
    )
    distance: float = setting(
        0.33,
        "released code, --deep_score_filter",
        "distance that masks must be below, but for the best",
    )
    relative_distance: float = setting(
        0.1,
        "released code, --deep_score_norm_filter",
        "distance beyond the best's, as a share of the worst's, that masks must be below",
        least=0,
        most=1,
    )
    share: float = setting(
        0.7,
        "released code, --topk_scores_threshold",
        "share of the best score to be exceeded",
        least=0,
        most=1,
    )
    merged: int = setting(
        9,
        "released code, scripts/coco.sh, --num_merging_mask",
        "masks that are joined at most",
        most=MANY,
    )

    def __post_init__(self) -> None:
        if not 0 < self.fewest <= self.most:
            raise ValueError("fewest must be at least 1 and not above most")
        if min(self.centres, self.samples, self.merged) < 1:
            raise ValueError("centres, samples and merged must be at least 1")
        if min(self.grid, self.emd_cells) < 0:
            raise ValueError("grid and emd_cells must not be negative")
        if self.resolution is not None and self.resolution < 1:
            raise ValueError("resolution must be positive")


PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Many objects in a picture: COCO-20i and LVIS.
    "coco": {},
    # One whole object: FSS-1000.
    "fss": {
        "prompts": "centres",
        "fewest": 4,
        "samples": 30,
        "multimask": False,
        "pred_iou": 0.0,
        "stability": 0.0,
        "grid": 0,
        "nms": 1.0,
        "alpha": 0.8,
        "beta": 0.2,
        "exponent": 1.0,
        "least_purity": 0.0,
        "merge_by": "share",
        "merged": 10,
    },
    # A part of an object: scripts/pascal_part.sh.
    "part": {
        "box": True,
        "fewest": 3,
        "samples": 128,
        "multimask": False,
        "pred_iou": 0.0,
        "stability": 0.0,
        "grid": 0,
        "nms": 1.0,
        "alpha": 0.5,
        "beta": 0.5,
        "least_coverage": 0.3,
        "least_purity": 0.0,
        "merge_by": "share",
        "merged": 5,
    },
    "zero_shot": {"reference": "saliency"},
    # The grid, which knows nothing of the class, never answers alone.
    "prompts_answer": {"fallback": "no_prompt"},
}


@dataclass(frozen=True)
class Settled(MatcherSettings):
    """Settings without blanks."""

    resolution: int = 0


def settle(settings: MatcherSettings, encoder: PatchEncoder) -> Settled:
    """Fill in what depends on the weights.

    Raises:
        UsageError: a resolution that does not go with them.
    """
    resolution = settings.resolution or encoder.image_size
    if resolution % encoder.patch_size:
        raise UsageError(
            f"resolution={resolution} must be a multiple of {encoder.patch_size}, the patch of "
            f"{encoder.checkpoints[0].name}"
        )
    return Settled(**vars(replace(settings, resolution=resolution)))
