"""SegCLIP: CLIP's patches gather around eight learned centres, and each centre is given a name.

Luo et al., "SegCLIP: Patch Aggregation with Learnable Centers for Open-Vocabulary Semantic
Segmentation", ICML 2023; released code: github.com/ArrowLuo/SegCLIP.
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
from ovbench.harness.contract.settings import SIDE, setting
from ovbench.models.grouping.segclip import load_segclip


@dataclass(frozen=True)
class SegCLIPSettings(NamingSettings):
    """Settings of :class:`SegCLIPMethod`."""

    short_side: int = setting(
        224,
        "released code, seg_segmentation/configs/_base_/datasets: img_scale=(2048, 224)",
        "shorter side of the input in pixels, resized as OpenCV does",
        most=SIDE,
    )
    window: int = setting(
        224,
        "released code, seg_segmentation/configs/_base_/datasets: crop_size=(224, 224)",
        "side of windows in pixels; 0 is the whole image",
        most=SIDE,
    )
    window_stride: int = setting(
        224,
        "released code, seg_segmentation/configs/_base_/datasets: stride=(224, 224)",
        "pixels between windows, no more than one is long",
        most=SIDE,
    )
    background_threshold: float = setting(
        0.8,
        "released code, bg_thresh: 0.8 for VOC, 0.25 for Context, 0.65 for COCO",
        "a group whose best class scores lower is background",
    )
    weights: str = setting(
        "segclip_vitb16",
        "released code, README",
        "of the catalogue, or random",
        picks="segclip/{weights}",
    )


class SegCLIPMethod(Naming):
    """Ten blocks see patches, two what gathered at the centres; their maximum is the whole."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="SegCLIP: CLIP that learned from captions to gather its patches around centres",
        kind="weakly trained",
        paper="Luo et al., ICML",
        year=2023,
        backbones=("CLIP",),
        weights=("segclip/segclip_vitb16",),
        code_licence="none stated",
    )
    Settings = SegCLIPSettings
    published: ClassVar[Sequence[Published]] = eight(
        # The released code has GroupViT's lists.
        names="groupvit",
        source="released code, seg_segmentation/configs/_base_/datasets",
        voc21={},
        context60={"background_threshold": 0.25},
        cocoobject={"background_threshold": 0.65},
        voc20=None,
        context59=None,
        cocostuff=None,
        ade20k=None,
        cityscapes=None,
    )

    def __init__(self, settings: SegCLIPSettings, runtime: Runtime) -> None:
        model = load_segclip(settings.weights, runtime)
        super().__init__(settings, model)
        self.mean, self.std = model.mean, model.std
