"""Settings of OVDiff, where they come from, and what depends on the models.

"Paper" is Karazija et al., ECCV 2024. "Released code" is github.com/karazijal/sdov.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ovbench.adapters.ovdiff.category_filter import FilterRule
from ovbench.adapters.ovdiff.masks import AttributionRule, MaskRule
from ovbench.adapters.ovdiff.prototypes import KINDS, PrototypeKind
from ovbench.harness.contract.settings import MANY, SIDE, setting
from ovbench.models.diffusion.sampling import Solver
from ovbench.models.patches.encoder import Facet

ExtractorName = Literal["sd", "dino", "clip", "mae"]
ReadingRule = Literal["resampled", "released_code"]
PictureRule = Literal["own", "released_code"]
Proposer = Literal["maskcut", "sam", "none"]


@dataclass(frozen=True)
class OVDiffSettings:
    """Settings of :class:`~ovbench.adapters.ovdiff.OVDiff`."""

    # What the support pictures are.
    generator: str = setting(
        "stable_diffusion_v1_5",
        "paper, section 4",
        "Stable Diffusion that makes the support pictures: a name of the catalogue or a hub id",
        picks="stable_diffusion/{generator}",
    )
    pictures: int = setting(32, "paper, section 4: N", "support pictures of each class", most=MANY)
    prompt: str = setting("A good picture of a {}", "paper, section 3.2", "what they are asked by")
    negative_prompt: str = setting(
        "text, low quality, blurry, cartoon, meme, low resolution, bad, poor, faded",
        "paper silent; released code",
        "what they shall not be",
    )
    solver: Solver = setting(
        "dpm-solver++",
        "paper silent; released code, which runs on diffusers 0.14: dpm-solver++0.14",
        "of the sampling",
    )
    steps: int = setting(30, "paper silent; released code", "of the solver", most=MANY)
    guidance: float = setting(8.0, "paper silent; released code", "towards the prompt")
    picture_rule: PictureRule = setting(
        "own",
        "our choice: no two pictures begin alike; released_code: its seed begins anew for every "
        "class, so that pictures of one index begin with the same noise, and levels are truncated",
        "which noise a picture begins with, and how its values become levels",
    )
    attribution_rule: AttributionRule = setting(
        "mean",
        "paper, section 3.2, up to scale; released_code: maps are clamped step by step, heads "
        "count alike, and maps are brought to 0..1 once more, and cut, at the pictures' size",
        "how attention becomes attribution, and at which size it is cut",
    )

    # Where they show their class.
    proposals: Proposer = setting(
        "maskcut",
        "our choice: paper, section 4, has CutLER, a detector trained on MaskCut's masks, whose "
        "code needs detectron2; none is the variant without it, Otsu's thresholds on attribution",
        "where candidate masks come from",
    )
    mask_rule: MaskRule = setting(
        "equation_1",
        "paper, equation 1; released_code: a pixel belongs to its highest-scored mask, and the "
        "background is cut and eroded; whole: section 3.3's naive average over whole pictures",
        "how foreground and background are chosen among the masks",
    )
    foreground_attribution: float = setting(
        0.5,
        "paper silent; released code",
        "attribution, in 0..1, above which a pixel is foreground where there are no masks",
        least=0,
        most=1,
    )
    background_attribution: float = setting(
        0.2,
        "paper silent; released code",
        "attribution below which it is background there, and with mask_rule=released_code at all",
        least=0,
        most=1,
    )
    maskcut_masks: int = setting(
        3,
        "our choice: MaskCut's, in CutLER, section 3.2",
        "masks at most, with proposals=maskcut",
        most=MANY,
    )
    sam_model: str = setting(
        "sam_vit_b",
        "our choice: the smallest",
        "which SAM or SAM 2, with proposals=sam",
        picks="sam/{sam_model}",
    )
    sam_points: int = setting(
        32,
        "our choice: the default of SAM's authors",
        "points asked per side, with proposals=sam",
        most=256,
    )

    # What is looked at.
    extractors: tuple[ExtractorName, ...] = setting(
        ("sd", "dino", "clip"),
        "paper, table 2, last row; table 3 has sd alone",
        "feature spaces whose similarities are averaged",
    )
    sd_model: str = setting(
        "stable_diffusion_v1_5",
        "paper, section 4",
        "Stable Diffusion that is looked into",
        picks="stable_diffusion/{sd_model}",
    )
    sd_layers: tuple[int, ...] = setting(
        (0, 6, 7, 8, 9, 10, 11, 12, 15),
        "paper silent; released code, 0,6:13,15",
        "cross-attention layers whose queries are joined, from 0: 6 going down, the middle, 9 up",
        most=MANY,
    )
    sd_timestep: int = setting(
        200, "paper silent; released code", "of the noise added first", most=999
    )
    dino_model: str = setting(
        "dino_vitb8",
        "paper, section 4.1; released code: ViT-B/8",
        "DINO",
        picks="dino/{dino_model}",
    )
    mae_model: str = setting(
        "facebook/vit-mae-base",
        "paper, table 2; which one is our choice: released code has a long-sequence MAE",
        "MAE",
        picks="dino/{mae_model}",
    )
    mae_scale: float = setting(
        2.0,
        "released code: 448 pixels; 1 for a MAE that was trained on as many",
        "side of the square that MAE sees, over that which it was trained on",
        most=16,
    )
    clip_architecture: str = setting(
        "ViT-B-16", "paper silent; released code", "open_clip's name of the CLIP"
    )
    clip_pretrained: str = setting(
        "openai",
        "paper silent; released code",
        "open_clip's tag of its weights, tag@revision, or random",
        picks="clip/{clip_architecture} {clip_pretrained}",
    )
    clip_layer: int = setting(
        -2,
        "paper, section 4.1",
        "block of the CLIP, from 0; negative ones count from the last",
        most=MANY,
    )
    clip_facet: Facet = setting(
        "key", "paper, section 4.1; token: table 2's CLIP (tokens)", "what is read of it"
    )
    clip_normalisation: Literal["imagenet", "clip"] = setting(
        "imagenet",
        "paper silent; released code, though CLIP was trained with its own",
        "whose pixel mean and deviation to use for features",
    )

    reading_rule: ReadingRule = setting(
        "resampled",
        "our choice: bicubic with antialiasing, to whole patches, one size for all pictures; "
        "released_code: bilinear without, support pictures in their own size, DINO's offset of "
        "positions, one noise for both of a support picture's draws",
        "how the feature spaces read pictures",
    )

    # What stands for a class.
    kinds: tuple[PrototypeKind, ...] = setting(
        KINDS, "paper, equation 3; class alone: table 3, last row", "kinds of prototypes"
    )
    parts: int = setting(
        32, "paper silent; released code", "clusters of k-means per region", most=MANY
    )
    background: Literal["prototypes", "threshold"] = setting(
        "prototypes",
        "paper, section 3.4; threshold: section 4.3 and table 3, without background prototypes",
        "how background wins, where the benchmark has one",
    )
    background_threshold: float = setting(
        0.72,
        "paper, section 4.3, by grid search for Stable Diffusion's features",
        "similarity below which a pixel is background, with background=threshold",
        least=-1,
    )

    # Which classes take part.
    stuff: Literal["benchmark", "list"] = setting(
        "benchmark",
        "our choice: what a benchmark says of its classes is better than a guess; list: the "
        "paper's way, ChatGPT's answer in the released code",
        "who says which classes are stuff; the list where the benchmark says nothing",
    )
    stuff_filter: bool = setting(
        True,
        "paper, section 3.4",
        "drop stuff's background prototypes and those of things that look like stuff",
    )
    stuff_similarity: float = setting(
        0.85, "paper: high; released code", "cosine above which they look like it", least=-1, most=1
    )
    category_filter: bool = setting(
        True, "paper, section 3.4", "let a CLIP choose the classes of each image first"
    )
    filter_most: int = setting(
        10, "paper: eta; released code", "classes of which all combinations are tried"
    )
    filter_rule: FilterRule = setting(
        "direct",
        'paper, section 3.4; released_code: an article before every name, "a cat and a dog", '
        "and the image resized to 512 pixels before CLIP's 224",
        "how the CLIP is asked",
    )
    filter_stuff: bool = setting(
        False,
        "released code: stuff is kept without asking; the paper speaks of all categories",
        "whether the CLIP may also leave out stuff",
    )

    # How an image is read.
    short_side: int | None = setting(
        None,
        "released code: 448 pixels",
        "shorter side of the image in pixels; none is 448 in proportion to what the extractors "
        "were trained on",
        most=SIDE,
    )
    max_long_side: int | None = setting(
        None,
        "our choice: 2048 for a shorter side of 448, so that narrow images stay affordable",
        "limit of the longer side; none is in proportion to the shorter one",
        most=SIDE,
    )
    windows: tuple[int, ...] | None = setting(
        None,
        "paper, section 4: 448 and 336 pixels; () is table 3's row without windows",
        "sides of sliding windows; none is these, in proportion to the shorter side",
        most=SIDE,
    )
    stride: int | None = setting(
        None,
        "paper, section 4: 224 pixels",
        "pixels between windows; none is this, in proportion to the shorter side",
        most=SIDE,
    )
    whole_image: bool = setting(
        False,
        "released code has it besides the windows; paper silent",
        "read the whole image once, too; it is always read where there are no windows",
    )
    pamr_iterations: int = setting(
        0,
        "paper, table 1: a variant; TCL's code, which it follows: 10",
        "of PAMR; 0 is none",
        most=MANY,
    )
    pamr_dilations: tuple[int, ...] = setting(
        (1, 2, 4, 8, 12, 24),
        "TCL's code",
        "distances of the neighbours in PAMR, in pixels",
        most=SIDE,
    )

    def __post_init__(self) -> None:
        _require(self.pictures > 0, "pictures must be positive")
        _require("{}" in self.prompt, "prompt needs {} where the name goes")
        _require(bool(self.extractors), "extractors must name at least one")
        _require(len(set(self.extractors)) == len(self.extractors), "an extractor counts once")
        _require(bool(self.kinds), "kinds must name at least one")
        _require(self.maskcut_masks > 0, "maskcut_masks must be positive")
        _require(self.sam_points > 0, "sam_points must be positive")
        _require(self.mae_scale > 0, "mae_scale must be positive")
        _require(self.parts > 0, "parts must be positive")
        _require(1 <= self.filter_most <= 16, "filter_most must be 1 to 16: it doubles per class")
        _require(self.short_side is None or self.short_side > 0, "short_side must be positive")
        _require(self.stride is None or self.stride > 0, "stride must be positive")
        _require(all(w > 0 for w in self.windows or ()), "windows must be positive")
        _require(self.pamr_iterations >= 0, "pamr_iterations must not be negative")
        _require(bool(self.pamr_dilations), "pamr_dilations must name at least one")
        _require(all(d > 0 for d in self.pamr_dilations), "pamr_dilations must be positive")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


_SD_ALONE = {"extractors": ("sd",)}
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {},
    "released_code": {
        "solver": "dpm-solver++0.14",
        "picture_rule": "released_code",
        "attribution_rule": "released_code",
        "mask_rule": "released_code",
        "reading_rule": "released_code",
        "filter_rule": "released_code",
        "whole_image": True,
        "stuff": "list",
    },
    # Table 1.
    "no_cutler": {"proposals": "none"},
    "pamr": {"pamr_iterations": 10},
    # Table 2; its last row is the default.
    "table2_mae": {
        "extractors": ("mae",),
        "mae_model": "mae_longseq_vit_base_imgnet",
        "mae_scale": 1.0,
    },
    "table2_dino": {"extractors": ("dino",)},
    "table2_clip_tokens": {"extractors": ("clip",), "clip_facet": "token"},
    "table2_clip_keys": {"extractors": ("clip",)},
    "table2_sd": _SD_ALONE,
    # Table 3.
    "table3_full": _SD_ALONE,
    "table3_no_bg_prototypes": {**_SD_ALONE, "background": "threshold"},
    "table3_no_category_filter": {**_SD_ALONE, "category_filter": False},
    "table3_no_stuff_filter": {**_SD_ALONE, "stuff_filter": False},
    "table3_no_cutler": {**_SD_ALONE, "proposals": "none"},
    "table3_no_windows": {**_SD_ALONE, "windows": ()},
    "table3_only_average": {**_SD_ALONE, "kinds": ("class",)},
}
