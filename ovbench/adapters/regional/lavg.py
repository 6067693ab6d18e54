"""LaVG: parts of the picture are cut out first, and named afterwards.

Kang and Cho, "In Defense of Lazy Visual Grounding for Open-Vocabulary Semantic Segmentation", ECCV
2024; released code: github.com/dahyun-kang/lavg.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ovbench.adapters.dense_clip.sclip import SCLIP
from ovbench.adapters.parts.candidates import pairs
from ovbench.adapters.parts.dense_clip import DenseCLIPSettings
from ovbench.adapters.parts.published import eight
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import SIDE, setting
from ovbench.harness.contract.stages import stage
from ovbench.models.pixels.scores import Scores, resizing
from ovbench.models.regions.cuts import PanopticCuts
from ovbench.models.regions.maps import MaskArray
from ovbench.models.regions.store import Regions

_PREDICT = "released code, panoptic_cut/predict.py"


@dataclass(frozen=True)
class LaVGSettings(DenseCLIPSettings):
    """Settings of :class:`LaVG`."""

    NO_MARGINS: ClassVar[str] = "windows are pooled pixel by pixel"

    dino: str = setting(
        "dino_vitb8",
        _PREDICT,
        "whose keys are cut: of the catalogue, a hub id, or random",
        picks="dino/{dino}",
    )
    cut_side: int = setting(
        640, f"{_PREDICT}, imgsize", "of the square that is cut, in pixels", least=16, most=SIDE
    )
    cuts: int = setting(8, f"{_PREDICT}, N", "of a picture, at most", least=1, most=100)
    tau: float = setting(
        0.3, f"{_PREDICT}, tau", "patches more alike than this are joined", least=-1, most=1
    )
    only_parts_have_classes: bool = setting(
        False,
        "released code, remove_falsefg: for VOC21",
        "what is in no part is background, where there is one",
    )


class LaVG(SCLIP):
    """SCLIP's features are pooled over every part of a window, and over what is in none."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="LaVG: normalised cuts of DINO, named by SCLIP",
        kind="training-free",
        paper="Kang and Cho, ECCV",
        year=2024,
        backbones=("CLIP", "DINO"),
        weights=("clip/ViT-B-16 openai", "dino/dino_vitb8"),
        code_licence="none stated",
    )
    Settings = LaVGSettings
    published: ClassVar[Sequence[Published]] = eight(
        names="sclip",
        source="released code, configs/",
        voc21={
            "logit_scale": 65.0,
            "background_threshold": 0.1,
            "area_share": 0.1,
            "only_parts_have_classes": True,
        },
        context60={"logit_scale": 50.0, "background_threshold": 0.1},
        cocoobject={"logit_scale": 50.0, "background_threshold": 0.1},
        voc20={},
        context59={},
        cocostuff={"short_side": 448},
        ade20k={},
        cityscapes={"short_side": 560},
    )
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {}
    settings: LaVGSettings

    def __init__(self, settings: LaVGSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        generator = PanopticCuts(settings.dino, settings.cut_side, settings.cuts, settings.tau)
        self.regions = Regions(generator, runtime)
        self.checkpoints += self.regions.checkpoints

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`."""
        masks = self.regions.masks(images)
        with stage("preprocess"):
            inputs = [self._input(image) for image in images]
            windows = [self._windows(one) for one in inputs]
        maps = self._maps(inputs, windows)
        answers = []
        for i, (image, chosen) in enumerate(pairs(images, candidates)):
            with stage("pool"):
                size = inputs[i].shape[1], inputs[i].shape[2]
                parts = on_input(masks[i].masks, size).to(maps[i].device)
                each = zip(maps[i], windows[i].cut(parts), strict=True)
                pooled = windows[i].average(self._by_part(*one) for one in each)
                scores = Scores.enlarged(pooled, (image.shape[0], image.shape[1]))
            answers.append(self._answer(scores, inputs[i], chosen))
        return answers

    def _by_part(self, scores: Tensor, parts: Tensor) -> Tensor:
        """One window's scores ``(Q, h, w)``, the same all over a part; ``(Q, H, W)``.

        Its parts ``(k, H, W)`` are bool; the first is on top, and the last fills them up.

        Pooling enlarged features and asking texts of the sum is, both being linear, a mean of
        scores, weighted by how much of a place belongs to a part.
        """
        on_top = parts.to(torch.uint8).argmax(dim=0)  # of equals the first
        down, across = (
            resizing(places, wanted).to(scores.device)
            for places, wanted in zip(scores.shape[1:], parts.shape[1:], strict=True)
        )
        weights = down.T @ parts.to(scores.dtype) @ across
        pixels = parts.flatten(1).sum(dim=1).clamp_(min=1)
        means = scores.flatten(1) @ weights.flatten(1).T / pixels
        if self.settings.only_parts_have_classes and self.vocabulary.background is not None:
            classes = torch.from_numpy(self._labels > 0).to(means.device)
            means[classes, -1] = means[:, torch.unique(on_top)].min()
        return means[:, on_top]


def on_input(masks: MaskArray, size: tuple[int, int]) -> Tensor:
    """Masks ``(k, H, W)`` and what is in none of them, by the nearest places of another grid."""
    nowhere = ~masks.any(axis=0, keepdims=True)
    found = torch.from_numpy(np.concatenate([masks, nowhere]))[None].float()
    return interpolate(found, size, mode="nearest")[0].bool()
