"""Settings of RIM, and where they come from.

"Paper" is Wang et al., CVPR 2024. No code was released, and its supplement is not public: where
the paper is silent, the value is our choice and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ovbench.adapters.parts.templates import TemplateSet
from ovbench.adapters.rim.matching import Positivity, Selection, Winner
from ovbench.adapters.rim.painting import Overlap
from ovbench.harness.contract.settings import MANY, SIDE, setting
from ovbench.models.diffusion.sampling import Solver
from ovbench.models.patches.encoder import Facet

WEIGHTS: Mapping[str, str] = {"mae": "dino/facebook/vit-mae-base"}
"""The hub's MAE with ViT-B, which no setting names; a patch encoder of DINO's kind."""


@dataclass(frozen=True)
class RIMSettings:
    """Settings of :class:`~ovbench.adapters.rim.RIM`."""

    diffusion: str = setting(
        "stable_diffusion_v1_4",
        "paper, section 4.2",
        "what makes the reference pictures",
        picks="stable_diffusion/{diffusion}",
    )
    prompt: str = setting("a photo of {}", "paper, section 3.4", "its prompt; {} is the name")
    pictures: int = setting(
        32,
        "our choice, since the paper is silent: OVDiff's number",
        "reference pictures per class name",
        most=MANY,
    )
    solver: Solver = setting(
        "pndm",
        "our choice, since the paper is silent: what Stable Diffusion 1.4 comes with",
        "how they are sampled",
    )
    steps: int = setting(
        50,
        "our choice, since the paper is silent: the pipeline's default",
        "steps of the solver",
        most=MANY,
    )
    guidance: float = setting(
        7.5,
        "our choice, since the paper is silent: the pipeline's default",
        "scale of classifier-free guidance",
    )
    attention_reductions: tuple[int, ...] | None = setting(
        None,
        "paper, equation 3: each layer's and step's map over its own maximum, and the mean of all; "
        "that heads are averaged before, and the tokens of a name after, is our reading",
        "cross-attention layers to read, by how many times coarser than the latents their maps "
        "are, such as 2,4; none is all",
        most=MANY,
    )
    attention_threshold: float = setting(
        0.7, "paper, section 4.2 and figure 5b", "where the attention map is foreground"
    )
    attention_scale: Literal["peak", "absolute"] = setting(
        "peak",
        "our choice: each map has a maximum of 1, but the mean of many (equation 3) has less, "
        "often less than the threshold",
        "threshold the mean map as a share of its own maximum, or as it is",
    )
    reference_mask: Literal["sam", "attention"] = setting(
        "sam",
        "paper, section 3.4; the binarised attention map alone may miss parts of the target",
        "what cuts the foreground out of a reference picture",
    )
    points: int = setting(
        5,
        "paper, section 4.2; it samples them, which we read as at random",
        "random points of the binarised map that prompt SAM",
        most=MANY,
    )
    several_masks: bool = setting(
        True,
        "our choice, since the paper is silent",
        "take the best of SAM's three masks by its own estimate, not its single one",
    )
    sam: str = setting(
        "sam_vit_b", "paper, section 4.2: SAM with ViT-B", "which SAM or SAM 2", picks="sam/{sam}"
    )
    features: Literal["dinov2", "clip", "stable_diffusion", "mae"] = setting(
        "dinov2",
        "paper, section 4.2; the others are table 3's",
        "what images are compared by",
        picks=WEIGHTS,
    )
    dinov2: str = setting(
        "dinov2_base",
        "paper, section 4.2: DINOv2 with ViT-B",
        "the DINOv2",
        picks="dinov2/{dinov2}",
    )
    layer: int = setting(
        -1,
        "paper, section 4.2: the last; for CLIP and MAE our choice, since the paper is silent",
        "block of the vision transformer, negative from the last",
        most=MANY,
    )
    facet: Facet = setting(
        "key",
        "paper, section 4.2; for CLIP and MAE our choice, since the paper is silent",
        "what is read in the block",
    )
    unet_module: str = setting(
        "up_blocks.1",
        "our choice, since the paper is silent: DIFT (Tang et al., NeurIPS 2023)",
        "part of the U-Net that is read with features=stable_diffusion",
    )
    unet_timestep: int = setting(
        261,
        "our choice, since the paper is silent: DIFT (Tang et al., NeurIPS 2023)",
        "how noisy the image is made for the U-Net",
        most=999,
    )
    reference_side: int | None = setting(
        None,
        "our choice, since the paper is silent",
        "side of reference pictures for the encoder; none is what it was trained on",
        most=SIDE,
    )
    short_side: int | None = setting(
        None,
        "our choice, since the paper is silent",
        "shorter side of test images for the encoder; none is what it was trained on",
        most=SIDE,
    )
    max_long_side: int = setting(
        2048, "our choice: MaskCLIP's released code", "limit of the longer side", most=SIDE
    )
    pooled: Literal["foreground", "image"] = setting(
        "foreground",
        "paper, equation 4; image: table 2, row 2",
        "what of a reference picture is averaged",
    )
    subcategories: int = setting(
        8,
        "paper, figure 5a, by k-means on unit features with 10 starts (our choice)",
        "references per class name; 0 is the mean alone",
        most=MANY,
    )
    background: Literal["class", "candidate", "none"] = setting(
        "class",
        "paper, section 3.4, has a background reference and is silent on its part in the matching",
        "where the benchmark has a background, its reference is treated as a class's, or competes "
        "but is no agent, or is not used",
    )
    backgrounds: int = setting(
        1,
        "paper, section 3.4: the mean of all background features; more are our extension, for "
        "backgrounds too different to have a mean",
        "references of the background: the mean, or so many centres of k-means on unit features, "
        "of which any may win",
        most=MANY,
    )
    matching: Literal["relation", "cosine", "text"] = setting(
        "relation",
        "paper, section 3.5; the others are table 2's",
        "how a region is recognised: by rankings of agents, by cosine to references, or by CLIP "
        "from its crop",
    )
    agents: int = setting(4, "paper, section 4.2", "category agents that are ranked")
    agents_by: Selection = setting(
        "top",
        "paper, section 3.5; random: table 5",
        "the references most like the region, or random ones",
    )
    positivity: Positivity = setting(
        "clamp",
        "paper, equations 6 and 7: cosines as they are, which must be positive; what is not "
        "counts as 1e-6 (our choice); exp: exp(cosine / temperature)",
        "how cosines become scores",
    )
    temperature: float = setting(0.1, "our choice", "with positivity=exp")
    winner: Winner = setting(
        "any",
        "paper, equations 9 and 10: the maximum over all references",
        "which references may win: any, or the region's agents",
    )
    proposals: Literal["sam", "none"] = setting(
        "sam",
        "paper, section 4.2; none: table 4",
        "regions of the test image, or every location by itself",
    )
    points_per_side: int = setting(
        32, "paper, section 4.2", "grid of points that SAM is asked at", most=256
    )
    predicted_iou: float | None = setting(
        None,
        "paper silent; segment-anything's default: 0.88",
        "proposals that SAM itself thinks worse are dropped; none is what suits the weights",
        least=0,
    )
    stability: float = setting(
        0.95,
        "paper silent; segment-anything's default",
        "proposals less stable than this are dropped",
        least=0,
        most=1,
    )
    box_overlap: float = setting(
        0.7,
        "paper silent; segment-anything's default",
        "IoU of boxes above which only the better proposal is kept",
        least=0,
        most=1,
    )
    overlap: Overlap = setting(
        "smallest",
        "our choice, since the paper is silent: parts lie on what they are parts of",
        "which of several proposals a pixel belongs to: the smallest, the best matched, or the "
        "one that SAM thinks best cut out",
    )
    holes: Literal["background", "region"] = setting(
        "background",
        "our choice, since the paper is silent: what SAM finds no object in is background",
        "pixels without a proposal: background, or together one more region; always that where "
        "the benchmark has no background",
    )
    clip_architecture: str = setting(
        "ViT-B-16",
        "paper, section 4.4: CLIP with ViT-B, either patch",
        "open_clip's name, with matching=text or features=clip",
    )
    clip_pretrained: str = setting(
        "openai",
        "paper, section 4.4",
        "open_clip's tag of its weights, tag@revision, or random",
        picks="clip/{clip_architecture} {clip_pretrained}",
    )
    prompts: TemplateSet = setting(
        "single",
        "our choice, since the paper is silent",
        "with matching=text, the templates whose embeddings are averaged",
    )

    def __post_init__(self) -> None:
        _require(self.prompt.count("{}") == 1, "prompt must contain {} once")
        counts = (self.pictures, self.steps, self.points, self.points_per_side, self.backgrounds)
        _require(
            min(counts) > 0,
            "pictures, steps, points, points_per_side and backgrounds are 1 or more",
        )
        _require(0 < self.attention_threshold <= 1, "attention_threshold is above 0, at most 1")
        _require(self.subcategories >= 0, "subcategories must not be negative")
        _require(2 <= self.agents <= 7, "agents: 2 to 7 (7 have 5040 rankings)")
        _require(self.temperature > 0, "temperature must be positive")
        sides = (self.reference_side, self.short_side, self.max_long_side)
        _require(all(side is None or side > 0 for side in sides), "sides must be positive")
        _require(
            self.matching != "text" or self.proposals == "sam",
            "matching=text looks at crops of proposals; it goes with proposals=sam",
        )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


PRESETS: Mapping[str, Mapping[str, Any]] = {
    # The paper's text; table 2, row 5.
    "paper": {},
    # Table 2 of the paper, rows 1 to 4.
    "table2_clip_crops": {"matching": "text"},
    "table2_whole_pictures": {"matching": "cosine", "subcategories": 0, "pooled": "image"},
    "table2_foreground": {"matching": "cosine", "subcategories": 0},
    "table2_relation": {"subcategories": 0},
    # Tables 3 to 5; their last columns and rows are the default.
    "table3_clip": {"features": "clip"},
    "table3_stable_diffusion": {"features": "stable_diffusion"},
    "table3_mae": {"features": "mae"},
    "table4_no_proposals": {"proposals": "none"},
    "table5_random_agents": {"agents_by": "random"},
    # Our reading of equations 7 and 9: scores that are positive by themselves, and no winner from
    # outside the region's agents.
    "agents_only": {"positivity": "exp", "winner": "agent"},
}
