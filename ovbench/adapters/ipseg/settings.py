"""Settings of IPSeg, where they come from, and what depends on the weights.

"Paper" is Tang et al., "Towards Training-free Open-world Segmentation via Image Prompt Foundation
Models" (IJCV 2024). "Released code" is github.com/luckybird1994/IPSeg, ``ipseg_fss.py`` and
``sd-dino/``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ovbench.harness.contract.runtime import CheckpointRecord
from ovbench.harness.contract.settings import MANY, SIDE, setting
from ovbench.models.patches.positions import Positions

MaskRule = Literal["saliency", "pca", "truth", "none"]


@dataclass(frozen=True)
class IPSegSettings:
    """Settings of :class:`~ovbench.adapters.ipseg.IPSeg`."""

    features: Literal["both", "sd", "dinov2", "mae", "clip"] = setting(
        "both",
        "paper, section 3.3.1: Stable Diffusion and DINOv2; one of them alone is table 3's; mae "
        "and clip are table 7's, alone by our choice: its MAE is far below table 3's sd",
        "which features are compared",
    )
    diffusion: str = setting(
        "stable_diffusion_v1_5",
        "paper, section 4.1",
        "Stable Diffusion: catalogue name or hub id",
        picks="stable_diffusion/{diffusion}",
    )
    dinov2: str = setting(
        "dinov2_base",
        "released code, dinov2_vitb14; the paper does not say which",
        "DINOv2: catalogue name or hub id",
        picks="dinov2/{dinov2}",
    )
    mae: str = setting(
        "facebook/vit-mae-base",
        "our choice, as large as DINOv2; paper, table 7, does not say which",
        "with features=mae, MAE: catalogue name or hub id",
        picks="dino/{mae}",
    )
    clip_architecture: str = setting(
        "ViT-B-16",
        "our choice, as large as DINOv2; paper, table 7, does not say which",
        "with features=clip, open_clip's name of the CLIP",
    )
    clip_pretrained: str = setting(
        "openai",
        "paper, table 7, by its reference",
        "with features=clip, open_clip's tag of its weights, tag@revision, or random",
        picks="clip/{clip_architecture} {clip_pretrained}",
    )
    sam: str = setting(
        "sam_vit_h",
        "released code; the paper does not say which",
        "which SAM or SAM 2",
        picks="sam/{sam}",
    )
    saliency: str = setting(
        "found_dino_vits8",
        "our choice: FOUND in place of TSDN (paper, released code) and A2S, all unsupervised",
        "saliency model that finds the object in a prompt",
        picks="saliency/{saliency}",
    )
    timestep: int = setting(
        50, "paper, section 4.1; released code: 100", "noise on the picture that the U-Net sees"
    )
    grid: int | None = setting(
        None,
        "released code: 60, from pictures of 960 pixels for Stable Diffusion, 840 for DINOv2",
        "places along a side of the features, a multiple of 4; none is what suits the weights",
        most=256,
    )
    noise_seed: int | None = setting(
        None,
        "paper silent; released code, sd-dino: 42 for every picture",
        "of the noise on pictures; none is the run's seed",
        most=2**32 - 1,
    )
    positions: Positions = setting(
        "exact",
        "paper silent; dino: released code, which has DINOv2's own offset of 0.1",
        "how position embeddings come to another grid of patches",
    )
    inside: Literal["nearest", "cells"] = setting(
        "nearest",
        "our choice: the places nearest to the picture's; cells: released code, which leaves out "
        "whole places of the square around a picture, rounded for each layer",
        "how features of a picture that is no square are taken from the square around it",
    )
    fusion: Literal["concat", "weighted"] = setting(
        "concat",
        "paper, equation 4; weighted: released code, DINOv2 + 0.1 (0.3, 0.2, 0.1 for Stable "
        "Diffusion's three layers, fine to coarse, though a comment there says the reverse)",
        "one cosine of concatenated features, or a sum of cosines",
    )
    prompt_mask: MaskRule = setting(
        "saliency",
        "paper, section 3.3.2; truth and none are table 6's",
        "where the object is in a prompt: salient, the first principal component of its "
        "features, as its mask says, or everywhere",
    )
    saliency_side: int = setting(
        480,
        "our choice: FOUND takes pictures as they are, but any photo must fit into memory",
        "longest side in pixels at which a prompt's salience is found",
        most=SIDE,
    )
    mask_at: Literal["centres", "corners"] = setting(
        "centres",
        "our choice; corners: released code, nearest neighbours of F.interpolate",
        "where in a place the prompt's mask is read",
    )
    erode: bool = setting(
        False, "paper silent; released code, 3x3", "take a place's width off the prompt's object"
    )
    points: int = setting(
        32,
        "paper, section 3.4 (K)",
        "most similar places, and as many least similar ones",
        most=SIDE,
    )
    centres: int = setting(
        4,
        "paper, section 3.4 (c)",
        "points that SAM gets of each kind; k-means makes them",
        most=MANY,
    )
    k_means: Literal["seeded", "nan"] = setting(
        "seeded",
        "paper silent; nan: released code, which takes equal places as torch's sort has them, "
        "starts from torch's permutation of seed 0, and where a cluster that runs empty becomes "
        "NaN and takes all points",
        "what k-means starts from and does with empty clusters: from the run's seed, dropping "
        "them, or as the released code",
    )
    fractional_rows: bool = setting(
        False,
        "paper: positions; released code divides without rounding, so that points lie up to a "
        "row too low, the more the farther right",
        "rows of points as the released code has them",
    )
    sam_input: Literal["longest", "square"] = setting(
        "longest",
        "SAM's own; released code squashes to a square, without antialiasing as OpenCV does",
        "how a picture is brought to SAM's input",
    )
    sam_passes: Literal["once", "cascade"] = setting(
        "once",
        "paper, section 3.4; released code asks three times: points; with the mask; with the "
        "mask and its box",
        "how often SAM is asked",
    )
    overlap: Literal["similarity", "sam_iou"] = setting(
        "similarity",
        "our choice, since paper and released code look for one class: its places decide whose "
        "object it is; sam_iou: what SAM thinks of its mask",
        "which class gets a pixel that lies in several masks",
    )

    def __post_init__(self) -> None:
        _require(0 <= self.timestep < 1000, "timestep is one of Stable Diffusion's: 0 to 999")
        _require(self.grid is None or (self.grid > 0 and self.grid % 4 == 0), _GRID)
        _require(self.saliency_side > 0, "saliency_side must be positive")
        _require(self.points > 0 and self.centres > 0, "points and centres must be positive")


_GRID = "grid is a positive multiple of 4, as Stable Diffusion's coarsest layer has a quarter of it"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _table4(points: int, centres: int) -> Mapping[str, Any]:
    return {"points": points, "centres": centres}


PRESETS: Mapping[str, Mapping[str, Any]] = {
    # The paper's text.
    "paper": {},
    "released_code": {
        "timestep": 100,
        "noise_seed": 42,
        "positions": "dino",
        "inside": "cells",
        "fusion": "weighted",
        "mask_at": "corners",
        "erode": True,
        "k_means": "nan",
        "fractional_rows": True,
        "sam_input": "square",
        "sam_passes": "cascade",
    },
    # Tables 3, 4, 6 and 7 of the paper, row by row.
    "table3_without_dinov2": {"features": "sd"},
    "table3_without_sd": {"features": "dinov2"},
    "table3_both": {},
    **{f"table4_k32_c{c}": _table4(32, c) for c in (32, 16, 8, 4, 2)},
    **{f"table4_k{k}_c4": _table4(k, 4) for k in (4, 8, 16, 64)},
    "table6_without_mask": {"prompt_mask": "none"},
    # Both of its rows with a saliency model: neither TSDN nor A2S is here.
    "table6_saliency": {},
    "table6_truth": {"prompt_mask": "truth"},
    # Table 7; its third row, DINOv2, has table 3's figures for both.
    "table7_mae": {"features": "mae"},
    "table7_clip": {"features": "clip"},
}

PUBLISHED_GRID = 60
GRIDS: Mapping[str, int] = {"toyworld/": 20}
"""By how a checkpoint's name begins, where the weights were trained on much smaller pictures.

As with the published 60, Stable Diffusion then sees a picture in 2 x 2 windows.
"""


@dataclass(frozen=True)
class Settled(IPSegSettings):
    """Settings without blanks: what depends on the weights is filled in."""

    grid: int = 0


def settle(settings: IPSegSettings, checkpoints: Iterable[CheckpointRecord]) -> Settled:
    """Fill in what depends on the weights."""
    values = asdict(settings)
    if settings.grid is None:
        names = [checkpoint.name for checkpoint in checkpoints]
        known = (size for start, size in GRIDS.items() if any(n.startswith(start) for n in names))
        values["grid"] = next(known, PUBLISHED_GRID)
    return Settled(**values)
