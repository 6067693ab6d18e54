"""FLOSS on NACLIP, MaskCLIP and CLIP-DINOiser: a class is asked for by templates that know it.

Benigmim et al., "FLOSS: Free Lunch in Open-vocabulary Semantic Segmentation", ICCV 2025; released
code: github.com/yasserben/FLOSS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ovbench.adapters.dense_clip.clip_dinoiser import CLIPDINOiser, CLIPDINOiserSettings
from ovbench.adapters.dense_clip.floss.experts import (
    RANKINGS,
    WHOSE_EXPERTS,
    Experts,
    ExpertSettings,
)
from ovbench.adapters.dense_clip.naclip import NACLIP, NACLIPSettings
from ovbench.adapters.dense_clip.value_path import WIDE, ValuePath, WideValuePathSettings
from ovbench.adapters.parts.published import Values, eight
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.settings import FACTOR, setting


def _ranked(base: str, names: str | Mapping[str, str], **others: Values) -> Sequence[Published]:
    """A row for each benchmark that the authors rank templates for, with its other settings."""
    without: Mapping[str, None] = dict.fromkeys(("voc21", "context60", "cocoobject"))
    rows = {
        benchmark: {"experts": f"floss_{base}_{benchmark}", **others.get(benchmark, {})}
        for benchmark in ("voc20", "context59", "cocostuff", "ade20k", "cityscapes")
    }
    source = "released code, configs/ and rankings/"
    return eight(names=names, source=source, **without, **rows)


_BARE_NAMES: Mapping[str, str] = {
    "voc20": "clip_dinoiser",
    "context59": "floss",
    **dict.fromkeys(("cocostuff", "ade20k", "cityscapes"), "plain"),
}
"""The class names of configs/_base_/datasets/class_names, which NACLIP alone has others than."""


@dataclass(frozen=True)
class FLOSSSettings(NACLIPSettings, ExpertSettings):
    """Settings of :class:`FLOSS`."""

    experts: str = setting(
        "floss_naclip_cityscapes", RANKINGS, WHOSE_EXPERTS, picks="floss/{experts}"
    )
    logit_scale: float = setting(
        100.0,
        "released code, mmseg/models/segmentors/naclip/naclip.py; NACLIP's own is 40",
        "factor on cosines before the softmax over queries",
        most=FACTOR,
    )


class FLOSS(Experts, NACLIP):
    """NACLIP's features, and a set of texts for each class."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="FLOSS: NACLIP asked by templates that know each class, chosen without labels",
        kind="training-free",
        paper="Benigmim et al., ICCV",
        year=2025,
        backbones=("CLIP",),
        weights=("clip/ViT-B-16 openai", "floss/floss_naclip_cityscapes"),
        code_licence="none stated",
    )
    Settings = FLOSSSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    published: ClassVar[Sequence[Published]] = _ranked(
        "naclip", "naclip", voc20={"window": 0}, cityscapes={"short_side": 560}
    )
    settings: FLOSSSettings


@dataclass(frozen=True)
class _AsMaskCLIP(ExpertSettings):
    """What MaskCLIP's and CLIP-DINOiser's released wrapper does otherwise than NACLIP's."""

    unit_texts: bool = setting(
        False,
        "released code, maskclip.py, _embed_experts",
        "give every average of templates unit length",
    )
    average: Literal["cosines", "probabilities"] = setting(
        "probabilities",
        "released code, maskclip.py, cls_seg",
        "what is averaged over windows where templates are weighed on pictures",
    )


@dataclass(frozen=True)
class FLOSSMaskCLIPSettings(WideValuePathSettings, _AsMaskCLIP):
    """Settings of :class:`FLOSSMaskCLIP`."""

    experts: str = setting(
        "floss_maskclip_cityscapes", RANKINGS, WHOSE_EXPERTS, picks="floss/{experts}"
    )


class FLOSSMaskCLIP(Experts, ValuePath):
    """MaskCLIP's features as CLIP-DINOiser reads them, and a set of texts for each class."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="FLOSS: MaskCLIP asked by templates that know each class, chosen without labels",
        kind="training-free",
        paper="Benigmim et al., ICCV",
        year=2025,
        backbones=("CLIP",),
        weights=("clip/ViT-B-16 laion2b_s34b_b88k", "floss/floss_maskclip_cityscapes"),
        code_licence="none stated",
    )
    Settings = FLOSSMaskCLIPSettings
    published: ClassVar[Sequence[Published]] = _ranked("maskclip", _BARE_NAMES)
    SIZES: ClassVar[Mapping[str, float]] = WIDE
    settings: FLOSSMaskCLIPSettings


@dataclass(frozen=True)
class FLOSSDINOiserSettings(CLIPDINOiserSettings, _AsMaskCLIP):
    """Settings of :class:`FLOSSDINOiser`."""

    experts: str = setting(
        "floss_clip_dinoiser_cityscapes", RANKINGS, WHOSE_EXPERTS, picks="floss/{experts}"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.background_rule:
            raise ValueError("background_rule must be false: it is of texts, not of experts")


class FLOSSDINOiser(Experts, CLIPDINOiser):
    """CLIP-DINOiser's pooled features, and a set of texts for each class."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="FLOSS: CLIP-DINOiser asked by templates that know each class, chosen label-free",
        kind="weakly trained",
        paper="Benigmim et al., ICCV",
        year=2025,
        backbones=("CLIP", "DINO"),
        weights=(
            "clip/ViT-B-16 laion2b_s34b_b88k",
            "clip_dinoiser/clip_dinoiser_vitb16",
            "floss/floss_clip_dinoiser_cityscapes",
        ),
        code_licence="none stated",
    )
    Settings = FLOSSDINOiserSettings
    published: ClassVar[Sequence[Published]] = _ranked("clip_dinoiser", _BARE_NAMES)
    settings: FLOSSDINOiserSettings
