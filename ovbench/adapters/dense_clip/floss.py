"""FLOSS on NACLIP: every class is asked for by the templates that know it.

Benigmim et al., "FLOSS: Free Lunch in Open-vocabulary Semantic Segmentation", ICCV 2025; released
code: github.com/yasserben/FLOSS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ovbench.adapters.dense_clip.experts import Experts, ExpertSettings
from ovbench.adapters.dense_clip.naclip import NACLIP, NACLIPSettings
from ovbench.adapters.parts.published import eight
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.settings import FACTOR, setting


@dataclass(frozen=True)
class FLOSSSettings(ExpertSettings, NACLIPSettings):
    """Settings of :class:`FLOSS`."""

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
    published: ClassVar[Sequence[Published]] = eight(
        names="naclip",
        source="released code, configs/naclip/ and rankings/naclip/",
        voc21=None,
        context60=None,
        cocoobject=None,
        voc20={"experts": "floss_naclip_voc20", "window": 0},
        context59={"experts": "floss_naclip_context59"},
        cocostuff={"experts": "floss_naclip_cocostuff"},
        ade20k={"experts": "floss_naclip_ade20k"},
        cityscapes={"experts": "floss_naclip_cityscapes", "short_side": 560},
    )
    settings: FLOSSSettings
