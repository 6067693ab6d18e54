"""OVSegmentor: GroupViT's groups in a tower that began as DINO, named by BERT's texts.

Xu et al., "Learning Open-vocabulary Semantic Segmentation Models From Natural Language
Supervision", CVPR 2023; released code: github.com/Jazzcharles/OVSegmentor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ovbench.adapters.grouping.naming import Naming, NamingSettings
from ovbench.adapters.parts.published import eight
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import setting
from ovbench.models.grouping.ovsegmentor import load_ovsegmentor


@dataclass(frozen=True)
class OVSegmentorSettings(NamingSettings):
    """Settings of :class:`OVSegmentorMethod`."""

    background_threshold: float = setting(
        0.95,
        "released code, bg_thresh: 0.95 for VOC, 0.35 for Context, 0.9 for COCO",
        "a group whose best class scores lower is background",
    )
    weights: str = setting(
        "ovsegmentor_vitb_bert",
        "released code, README: the one model that is published",
        "of the catalogue, or random",
        picks="ovsegmentor/{weights}",
    )


class OVSegmentorMethod(Naming):
    """One stage: six blocks see patches, six the eight groups that these form."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="OVSegmentor: GroupViT's groups, learned from captions on top of DINO and BERT",
        kind="weakly trained",
        paper="Xu et al., CVPR",
        year=2023,
        backbones=("DINO", "BERT"),
        weights=("ovsegmentor/ovsegmentor_vitb_bert",),
        code_licence="NVIDIA, non-commercial",
    )
    Settings = OVSegmentorSettings
    published: ClassVar[Sequence[Published]] = eight(
        # The released code has GroupViT's lists, and mmsegmentation's of ADE20K.
        names={
            "voc21": "groupvit",
            "context60": "groupvit",
            "cocoobject": "groupvit",
            "ade20k": "plain",
        },
        source="released code, segmentation/configs/_base_/datasets",
        voc21={},
        context60={"background_threshold": 0.35},
        cocoobject={"background_threshold": 0.9},
        voc20=None,
        context59=None,
        cocostuff=None,
        ade20k={},
        cityscapes=None,
    )

    def __init__(self, settings: OVSegmentorSettings, runtime: Runtime) -> None:
        super().__init__(settings, load_ovsegmentor(settings.weights, runtime))
