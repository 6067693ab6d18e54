"""CorrCLIP's settings, each with its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ovbench.adapters.parts.dense_clip import DenseCLIPSettings
from ovbench.adapters.parts.vfm import WEIGHTS, VFMReading
from ovbench.adapters.regional.settings import RegionSettings
from ovbench.harness.contract.settings import FACTOR, MANY, SIDE, setting
from ovbench.models.regions.maps import Painting

_CODE = "released code, CorrCLIPv1, open_clip/transformer.py"
_CONFIG = "released code, CorrCLIPv1, configs/base_config.py"
_SAM = "released code, CorrCLIPv1, corrclip_segmentor.py, set_mask_generator"
_SECOND = "released code, CorrCLIPv2"


@dataclass(frozen=True)
class CorrCLIPSettings(RegionSettings, DenseCLIPSettings):
    """Settings of :class:`CorrCLIP`."""

    architecture: str = setting(
        "ViT-B-16-quickgelu", f"{_CONFIG}, model_type", "open_clip's name of the CLIP"
    )
    pretrained: str = setting(
        "metaclip_fullcc",
        f"{_CONFIG}, clip_type; paper: OpenAI's as well",
        "open_clip's tag of its weights, tag@revision, or random",
        picks="clip/{architecture} {pretrained}",
    )
    window: int | None = setting(
        None,
        "released code, slide_crop: 336 for CLIPs trained on 224 pixels",
        "side of windows in pixels; none is 1.5 times the CLIP's training size, 0 the whole image",
        most=SIDE,
    )
    window_multiple: int = setting(
        56,
        "released code, compute_padsize: whole patches of 8 and 14 pixels",
        "windows are given zeros up to a multiple of this",
        most=SIDE,
    )
    vfm: str = setting(
        "dino_vitb8",
        f"{_CONFIG}, dino_type",
        "the model that says which patches are alike: as in the catalogue, a hub id, or random",
        picks=WEIGHTS,
    )
    vfm_reading: VFMReading = setting(
        "query_key",
        "released code, corrclip_segmentor.py, forward_feature; CorrCLIPv2, vfms/factory.py: "
        "tokens",
        "what is compared: the sum of queries and keys, or tokens",
    )
    vfm_view: Literal["windows", "image"] = setting(
        "windows",
        "released code, corrclip_segmentor.py; CorrCLIPv2, forward_slide: image",
        "what that model sees: every window by itself, or the whole image once, at its own size",
    )
    sam2: str = setting(
        "sam2.1_hiera_large",
        f"{_SAM}, which has SAM 2.0's: facebook/sam2-hiera-large",
        "with regions=sam2_grid: the SAM 2, of the catalogue, a hub id, or random",
        picks="sam/{sam2}",
        when={"regions": "sam2_grid"},
    )
    points_per_side: int = setting(
        8, f"{_SAM}; its figures rest on 32, too", "on the grids: of points along a side", least=1,
        most=256,
    )  # fmt: skip
    predicted_iou: float = setting(
        0.4,
        _SAM,
        "on the grids: masks whose predicted IoU is not above it are dropped",
        least=0,
    )
    stability: float = setting(
        0.4,
        _SAM,
        "on the grids: masks whose stability is below it are dropped",
        least=0,
        most=1,
    )
    multimask: bool = setting(
        False, _SAM, "with regions=sam2_grid: ask for three masks a point instead of one"
    )
    on_top: Painting = setting(
        "larger",
        "released code, corrclip_segmentor.py, generate_mask; a panoptic network's masks do not "
        "meet: later keeps their numbers",
        "which mask is seen where several meet",
    )
    merge: bool = setting(
        True, "paper, section 3.3; off is our choice", "join regions whose features are alike"
    )
    merge_distance: float = setting(
        0.2, f"{_CODE}, EPS", "of cosines, within which regions are joined", least=0, most=2
    )
    scope: bool = setting(
        True, "paper, section 3.3; off is our choice", "patches look at those of their region only"
    )
    temperature: float = setting(
        4.0, f"{_CODE}, TAU", "factor on likenesses before the softmax", least=0, most=FACTOR
    )
    spatial_weight: float = setting(
        1.0,
        f"{_CODE}, ALPHA",
        "of the branch of earlier blocks; 0 is off",
        least=0,
        most=FACTOR,
    )
    spatial_blocks: int | None = setting(
        None,
        f"{_CODE}, NUM_SPATIAL: 5 of 12 blocks, 12 of 24, 28 of 32, else all but four",
        "how many blocks before the last but one that branch averages",
        least=1,
        most=MANY,
    )
    semantic_weight: float = setting(
        0.5,
        f"{_CODE}, BETA",
        "of the branch of the regions' own class tokens; 0 is off",
        least=0,
        most=FACTOR,
    )
    vote: bool = setting(
        True,
        "paper, section 3.5; off is our choice",
        "give every region the label that most of its pixels have",
    )
    support: Literal["none", "bank"] = setting(
        "none",
        "released code, CorrCLIPv1; CorrCLIPv2, use_support_embedding: bank",
        "what an image's regions are named by besides: nothing, or the regions most like them of "
        "pictures without labels",
    )
    bank: str | None = setting(
        None,
        "released code, CorrCLIPv2: 118 thousand pictures of COCO, or as many of other sets",
        "with support=bank: the folder of those pictures; toyworld is the packaged ones",
    )
    neighbours: int = setting(
        20,
        f"{_SECOND}, num_support",
        "with support=bank: regions of the bank whose features are averaged for a region",
        least=1,
        most=MANY,
    )
    support_share: float = setting(
        0.5, f"{_SECOND}, alpha", "with support=bank: weight of the bank; the rest is the image's",
        least=0, most=1,
    )  # fmt: skip
    value_vfm: str = setting(
        "dino_vitb8",
        f"{_SECOND}, memory_bank_builder/generate_clip_embeddings.py",
        "with support=bank: the model that says which patches are alike in windows of its "
        "pictures, by queries and keys",
        picks=WEIGHTS,
        when={"support": "bank"},
    )
    second_architecture: str = setting(
        "ViT-B-16-quickgelu",
        f"{_SECOND}, aux_model_type: apple/DFN2B-CLIP-ViT-B-16",
        "with support=bank: open_clip's name of a second CLIP, which looks at the bank alone",
    )
    second_pretrained: str = setting(
        "dfn2b",
        f"{_SECOND}, aux_model_type",
        "open_clip's tag of its weights, tag@revision, or random",
        picks="clip/{second_architecture} {second_pretrained}",
        when={"support": "bank"},
    )
    second_share: float = setting(
        0.5, f"{_SECOND}, use_aux_model", "with support=bank: weight of the second CLIP within the "
        "bank's share; 0 leaves it out", least=0, most=1,
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.support == "none" and self.bank is not None:
            raise ValueError("bank needs support=bank")
        if self.support == "bank" and self.vfm_view != "image":
            raise ValueError("support=bank needs vfm_view=image, by which regions are looked up")
