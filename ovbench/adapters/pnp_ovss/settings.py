"""Settings of PnP-OVSS, where they come from, and what belongs to which weights.

"Paper" is Luo et al., CVPR 2024. Its code (github.com/letitiabanana/PnP-OVSS) changed much:
"CVPR-era code" is commit 687a4e5, "head code" is e439962, a rewrite after the conference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from ovbench.errors import UsageError
from ovbench.harness.contract.settings import MANY, SIDE, setting
from ovbench.models.matchers.matcher import Matcher
from ovbench.refine.resample import Kind

VLM = Literal["blip_flickr", "blip_coco", "bridgetower"]

# Layer 2 of 6 and head 8 of 16 (paper, table 2) tell that it was the large BridgeTower.
WEIGHTS: Mapping[str, str] = {
    "blip_flickr": "blip/blip_flickr",
    "blip_coco": "blip/blip_coco",
    "bridgetower": "bridgetower/bridgetower_large_itm",
}
"""By the paper's name, that of the catalogue."""


@dataclass(frozen=True)
class PnPOVSSSettings:
    """Settings of :class:`~ovbench.adapters.pnp_ovss.PnPOVSS`."""

    vlm: VLM = setting("blip_flickr", "paper, table 3", "vision-language model", picks=WEIGHTS)
    resolution: int | None = setting(
        None,
        "paper, table 3: 224 to 768 (BridgeTower: 322 to 770); both codes squash to a square",
        "side of the square input in pixels; none is what suits the weights",
        most=SIDE,
    )
    pixels: Literal["float", "pil"] = setting(
        "float",
        "our choice: nothing is rounded; both codes: Pillow on bytes, which rounds and clips after "
        "each of its two passes",
        "what resizes pictures to the square",
    )
    interpolation: Literal["bicubic", "bilinear"] = setting(
        "bicubic", "both codes; bilinear: both codes' ADE20K loaders", "how pictures are resized"
    )
    normalised: bool = setting(
        True,
        "as the weights were trained; head code leaves it out for ADE20K alone",
        "less the mean, divided by the deviation that the weights ask for",
    )
    vision_eps: float | None = setting(
        None,
        "the weights' configuration, 1e-5 for BLIP on the hub; both codes: 1e-6, LAVIS's",
        "epsilon of the image tower's layer norms; none is the configuration's",
    )
    layer: int | None = setting(
        None,
        "paper, table 2",
        "cross-attention layer, from 1; none is the one tuned for the weights",
        most=MANY,
    )
    head: int | None = setting(
        None,
        "paper, table 2; the mean over heads is table 6's",
        "attention head, from 1; 0 is the mean over all; none is the one tuned for the weights",
        most=MANY,
    )
    prefix: str = setting("A picture of", "paper, section 3", "what the prompt begins with")
    max_tokens: int = setting(
        500,
        "released code, tokenizer max_length; LAVIS cuts at 35",
        "longest prompt; classes beyond it are asked for in a further prompt",
        most=SIDE,
    )
    prompt_classes: Literal["vocabulary", "candidates"] = setting(
        "vocabulary",
        "CVPR-era code; head code prompts again with the predicted classes",
        "which classes the prompt lists where the candidates are known",
    )
    join_words: bool = setting(
        False,
        "paper silent; head code for ADE20K and COCO, the class lists of both codes for VOC and "
        "Context; CVPR-era code keeps COCO's names, and ADE20K's but for two in its list",
        "remove blanks and hyphens from class names",
    )
    name_tokens: Literal["own", "first"] = setting(
        "own",
        "paper, section 3; head code; first: CVPR-era code, where 'light' reads the tokens of "
        "'traffic light' and 'cloth' a piece of 'bedclothes'",
        "which tokens a name reads: its own, or the first that spell it in the prompt",
    )
    salience: Literal["gradcam", "attention"] = setting(
        "gradcam", "paper, section 3.1; attention is table 5, row 1", "what a class map is made of"
    )
    drops: int = setting(
        4,
        "paper, section 3.2 and table 5, whose rows are 0 to 4 drops",
        "how often the most salient patches are dropped and the image encoded anew",
        most=MANY,
    )
    drop_rule: Literal["half", "median", "halving", "count"] = setting(
        "half",
        "paper, section 3.2: half of what is left; median: equation 3, which drops all ties of it; "
        "halving: CVPR-era code, a 2nd, 4th, 8th, 16th of all patches, rounded down; count: head "
        "code. In the codes dropped patches stay in the ranking with a salience of 0 and are "
        "dropped again where fewer positive ones are left; ties as numpy.argsort has them",
        "which patches are dropped",
    )
    drop_count: int = setting(
        10, "head code, save_len", "patches per drop with drop_rule=count", most=MANY
    )
    drop_fill: Literal["black", "mean"] = setting(
        "black",
        "CVPR-era code; head code zeroes normalised pixels, which is the mean colour",
        "colour of dropped patches",
    )
    drop_by: Literal["classes", "tokens", "tokens_and_end"] = setting(
        "classes",
        "paper, section 3.2: the sum of class maps; tokens: head code; with [SEP]: CVPR-era code",
        "what is summed to find the most salient patches",
    )
    rescale_rounds: bool = setting(
        False,
        "paper: a plain sum; CVPR-era code brings every round's class map to 0..1",
        "bring each class map to 0..1 before the rounds are summed",
    )
    count_first_twice: bool = setting(
        False, "paper: once; both codes add in place and count it twice", "double the first round"
    )
    threshold: float | None = setting(
        None,
        "paper, table 2: 0.15",
        "what is below it is cut off; none is the one tuned for the weights",
        least=0,
        most=1,
    )
    threshold_of: Literal["auto", "image", "patch", "class", "absolute"] = setting(
        "auto",
        "our choice, since the paper is silent: salience differs by orders of magnitude between "
        "models, and a scale of its own would give every absent class a mask; class: head code; "
        "absolute: CVPR-era code, on its rescaled rounds",
        "what the threshold is a share of: the image's largest value, the sum over the classes "
        "at the patch, the class's largest value, or 1; auto is image where there is a "
        "background, else patch",
    )
    mask: Literal["binary", "soft"] = setting(
        "binary",
        "paper, section 3.3; head code keeps the values above the threshold",
        "what is kept of a class map above the threshold",
    )
    upsample: Kind = setting(
        "bilinear",
        "our choice, since the paper is silent and a spline's ripples give pixels far from any "
        "mask to some class; spline: CVPR-era code, scikit-image's order 3; bilinear_corners: "
        "head code",
        "how masks of patches are enlarged to the image",
    )
    blur: float = setting(
        0.05,
        "paper, table 2; released code: times the longer side",
        "standard deviation of the Gaussian blur as a share of the longer side; 0 is none",
    )
    blur_rescale: bool = setting(True, "paper silent; released code", "bring blurred masks to 0..1")
    flat_mask: Literal["empty", "first"] = setting(
        "empty",
        "paper silent; first: both codes divide 0 by 0, and arg-max over NaN is the first plane: "
        "background, or the first class where that has no plane",
        "what a class whose mask is the same everywhere makes of the image: an empty plane, or the "
        "first plane's label at every pixel",
    )
    background: Literal["residual", "empty"] = setting(
        "residual",
        "CVPR-era code: what the blurred masks leave of 1; head code: 1 where all masks are empty, "
        "then blurred and brought to 0..1 as they are",
        "the plane of the background label, where the benchmark has one",
    )
    background_below: int | None = setting(
        None,
        "paper silent; head code for Context, ADE20K and COCO-Stuff: 3",
        "the background has a plane only where fewer classes than this may be in the image; none "
        "is everywhere",
        most=65_535,
    )
    softmax: bool = setting(
        False,
        "CVPR-era code takes planes as they are; head code has a softmax over them",
        "softmax over planes before the CRF",
    )
    crf_iterations: int = setting(
        10,
        "CutLER's numbers, named by the paper, section 4.1; CVPR-era code: 20",
        "mean-field iterations of the dense CRF; 0 is none",
        most=MANY,
    )
    crf_spatial_weight: float = setting(
        7.0, "CutLER, POS_W", "weight of the smoothness kernel", least=0
    )
    crf_spatial_std: float = setting(3.0, "CutLER, POS_XY_STD", "its width in pixels")
    crf_bilateral_weight: float = setting(
        10.0, "CutLER, Bi_W", "weight of the appearance kernel", least=0
    )
    crf_bilateral_std: float = setting(
        50.0, "CutLER, Bi_XY_STD; CVPR-era code has 20 for COCO", "its width in pixels"
    )
    crf_colour_std: float = setting(5.0, "CutLER, Bi_RGB_STD", "its width in colour, of 0..255")

    def __post_init__(self) -> None:
        _require(self.resolution is None or self.resolution > 0, "resolution must be positive")
        _require(self.layer is None or self.layer > 0, "layer counts from 1")
        _require(self.head is None or self.head >= 0, "head counts from 1; 0 is the mean")
        _require(self.drops >= 0, "drops must not be negative")
        _require(self.drop_count > 0, "drop_count must be positive")
        _require(self.max_tokens > 0, "max_tokens must be positive")
        _require(self.vision_eps is None or self.vision_eps > 0, "vision_eps must be positive")
        _require(
            self.background_below is None or self.background_below > 0,
            "background_below must be positive",
        )
        _require(0 <= self.blur < 1, "blur is a share of the longer side: 0 to 1")
        _require(self.crf_iterations >= 0, "crf_iterations must not be negative")
        widths = (self.crf_spatial_std, self.crf_bilateral_std, self.crf_colour_std)
        _require(min(widths) > 0, "the widths of the CRF's kernels must be positive")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


# What both eras of the released code have in common.
_CODE = {
    "pixels": "pil",
    "vision_eps": 1e-6,
    "join_words": True,
    "count_first_twice": True,
    "flat_mask": "first",
}
# Commit 687a4e5. It only looks at the classes of the ground truth: `--classes oracle`. Thresholds
# are those of its shell scripts, but for VOC, whose evaluator has its own.
_CVPR_CODE = {
    **_CODE,
    "name_tokens": "first",
    "drop_rule": "halving",
    "drop_by": "tokens_and_end",
    "rescale_rounds": True,
    "threshold": 0.1,
    "threshold_of": "absolute",
    "upsample": "spline",
    "crf_iterations": 20,
}
# Commit e439962, made for `--classes predicted`: GPT-4o's answer was its class list.
_HEAD_CODE = {
    **_CODE,
    "resolution": 336,
    "prompt_classes": "candidates",
    "drops": 3,
    "drop_rule": "count",
    "drop_fill": "mean",
    "drop_by": "tokens",
    "threshold": 0.15,
    "threshold_of": "class",
    "mask": "soft",
    "upsample": "bilinear_corners",
    "background": "empty",
    "softmax": True,
}
PRESETS: Mapping[str, Mapping[str, Any]] = {
    # The paper's text; nothing tells it which classes an image holds.
    "paper": {},
    # New_eval_cam_VOC.py appends zeros behind the first round's maps and sums as many as there
    # are rounds: no drop counts, and the first round counts twice.
    "cvpr_code_voc": {**_CVPR_CODE, "drops": 0, "threshold": 0.15},
    "cvpr_code_context": _CVPR_CODE,
    "cvpr_code_ade20k": {**_CVPR_CODE, "interpolation": "bilinear", "join_words": False},
    "cvpr_code_coco": {**_CVPR_CODE, "join_words": False, "crf_bilateral_std": 20.0},
    # VOC and COCO-Object.
    "head_code": _HEAD_CODE,
    # Context and COCO-Stuff.
    "head_code_context": {**_HEAD_CODE, "background_below": 3},
    "head_code_ade20k": {
        **_HEAD_CODE,
        "background_below": 3,
        "interpolation": "bilinear",
        "normalised": False,
    },
    # Table 5 of the paper, row by row.
    "table5_attention": {"salience": "attention", "drops": 0, "blur": 0.0, "crf_iterations": 0},
    "table5_gradcam": {"drops": 0, "blur": 0.0, "crf_iterations": 0},
    "table5_drop1": {"drops": 1, "blur": 0.0, "crf_iterations": 0},
    "table5_drop2": {"drops": 2, "blur": 0.0, "crf_iterations": 0},
    "table5_drop3": {"drops": 3, "blur": 0.0, "crf_iterations": 0},
    "table5_drop4": {"drops": 4, "blur": 0.0, "crf_iterations": 0},
    "table5_blur": {"crf_iterations": 0},
    "table5_crf": {"blur": 0.0},
}


class Place(NamedTuple):
    """What suits a set of weights.

    Attributes:
        layer, head: of the cross-attention, from 1, as found by the method's own search.
        threshold: found by the same search.
        resolution: of the input, in pixels.
    """

    layer: int
    head: int
    threshold: float
    resolution: int


PLACES: Mapping[str, Place] = {
    # Paper, table 2; resolutions: table 3, the one with the most wins.
    "Salesforce/blip-itm-large-flickr": Place(8, 10, 0.15, 768),
    "Salesforce/blip-itm-large-coco": Place(8, 10, 0.15, 768),
    "BridgeTower/bridgetower-large-itm-mlm": Place(2, 8, 0.15, 770),
    # `ovbench tune --dataset toyworld --split train --trials 0`; resolution as trained.
    "toyworld/blip": Place(2, 3, 0.05, 96),
    "toyworld/bridgetower": Place(1, 3, 0.05, 96),
}
"""By the checkpoint's name."""


@dataclass(frozen=True)
class Settled(PnPOVSSSettings):
    """Settings without blanks: what depends on the weights is filled in."""

    resolution: int = 0
    layer: int = 0
    head: int = 0
    threshold: float = 0.0


def settle(settings: PnPOVSSSettings, model: Matcher) -> Settled:
    """Fill in what depends on the weights.

    Raises:
        UsageError: nothing is known of these weights, or a value is none that they have.
    """
    name, values = model.checkpoints[0].name, asdict(settings)
    blanks = [field for field in Place._fields if values[field] is None]
    if blanks and name not in PLACES:
        raise UsageError(
            f"{name}: no {', '.join(blanks)} is known for these weights; give a resolution "
            "(--set resolution=R) and find the others with `ovbench tune --method pnp_ovss`, or "
            "set them"
        )
    settled = Settled(**values | {field: getattr(PLACES[name], field) for field in blanks})
    if settled.layer > model.layers or settled.head > model.heads:
        raise UsageError(
            f"layer={settled.layer} head={settled.head}: {name} has {model.layers} layers of "
            f"{model.heads} heads"
        )
    if settled.resolution % model.patch_size:
        raise UsageError(
            f"resolution={settled.resolution} must be a multiple of {model.patch_size}, the "
            f"patch of {name}"
        )
    return settled
