"""MaskCLIP+: a network that learned, without labels, what MaskCLIP says of every pixel.

Zhou, Loy and Dai, "Extract Free Dense Labels from CLIP", ECCV 2022; released code:
github.com/chongzhou96/MaskCLIP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from ovbench.adapters.parts.published import eight
from ovbench.adapters.parts.templates import TemplateSet
from ovbench.adapters.pixelwise.by_texts import ByTexts
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import SIDE, setting
from ovbench.harness.contract.stages import stage
from ovbench.models.clip.model import load_clip
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD, input_tensor, kept_ratio
from ovbench.models.pixels.scores import Scores
from ovbench.models.pixels.windows import Windows
from ovbench.models.pixelwise.student import load_student


@dataclass(frozen=True)
class MaskCLIPPlusSettings:
    """Settings of :class:`MaskCLIPPlus`."""

    architecture: str = setting(
        "ViT-B-16",
        "released code, README: the teacher of the highest figures on Context and COCO-Stuff",
        "open_clip's name of the CLIP whose texts the student was trained with",
    )
    pretrained: str = setting(
        "openai",
        "released code, README",
        "open_clip's tag of its weights, tag@revision, or random",
        picks="clip/{architecture} {pretrained}",
    )
    weights: str = setting(
        "maskclip_plus_vitb16_cocostuff",
        "our choice: the student that learned from the most classes",
        "the student, which learned the classes of one benchmark: of the catalogue, or random",
        picks="maskclip_plus/{weights}",
    )
    prompts: TemplateSet = setting(
        "maskclip85",
        "released code, tools/maskclip_utils/prompt_engineering.py",
        "set of prompt templates whose embeddings are averaged",
    )
    short_side: int = setting(
        512,
        "released code, configs/_base_/datasets: img_scale=(2048, 512); Context (520, 520)",
        "shorter side of the input in pixels, resized as OpenCV does",
        most=SIDE,
    )
    max_long_side: int = setting(
        2048,
        "released code, img_scale=(2048, 512); Context (520, 520)",
        "limit of its longer side",
        most=SIDE,
    )

    def __post_init__(self) -> None:
        if min(self.short_side, self.max_long_side) < 1:
            raise ValueError("short_side and max_long_side must be positive")


class MaskCLIPPlus(ByTexts):
    """Products of texts with the vectors of pixels, whose lengths count."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="MaskCLIP+: a DeepLab that learned MaskCLIP's labels on a benchmark's own pictures",
        kind="weakly trained",
        paper="Zhou et al., ECCV",
        year=2022,
        backbones=("ResNet", "CLIP"),
        weights=("clip/ViT-B-16 openai", "maskclip_plus/maskclip_plus_vitb16_cocostuff"),
        code_licence="apache-2.0",
    )
    Settings = MaskCLIPPlusSettings
    published: ClassVar[Sequence[Published]] = eight(
        names="maskclip",
        source="released code, configs/maskclip_plus/README.md: each benchmark's best student",
        voc21=None,
        context60=None,
        cocoobject=None,
        voc20={"architecture": "RN50x16", "weights": "maskclip_plus_rn50x16_voc"},
        context59={
            "weights": "maskclip_plus_vitb16_context",
            "short_side": 520,
            "max_long_side": 520,
        },
        cocostuff={},
        ade20k=None,
        cityscapes=None,
    )
    settings: MaskCLIPPlusSettings

    def __init__(self, settings: MaskCLIPPlusSettings, runtime: Runtime) -> None:
        self.settings = settings
        self.clip = load_clip(settings.architecture, settings.pretrained, runtime)
        self._student = load_student(settings.weights, self.clip, runtime)
        self.checkpoints = (self.clip.checkpoint, *self._student.checkpoints)
        self.joint = self._student.joint

    def scores(self, image: Image) -> Scores:
        """See :class:`~ovbench.adapters.pixelwise.by_texts.ByTexts`."""
        settings, size = self.settings, (image.shape[0], image.shape[1])
        with stage("preprocess"):
            pixels = input_tensor(
                image,
                kept_ratio(
                    size, short_side=settings.short_side, max_long_side=settings.max_long_side
                ),
                mean=IMAGENET_MEAN,
                std=IMAGENET_STD,
                mode="bilinear",
                device=self._student.device,
                antialias=False,
                whole_numbers=True,
            )
        with stage("encode"):
            vectors = self._student.embed(pixels[None])
        maps = torch.einsum("qd,bdhw->bqhw", self.text, vectors)
        whole = Windows.over((pixels.shape[1], pixels.shape[2]), window=0, stride=1)
        return whole.merge(maps, size)
