"""CAT-Seg: similarities of places and texts, made to agree by a network that learned from masks.

Cho, Shin, Hong, Arnab, Seo and Kim, "CAT-Seg: Cost Aggregation for Open-Vocabulary Semantic
Segmentation", CVPR 2024; released code: github.com/KU-CVLAB/CAT-Seg.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.parts.published import eight
from ovbench.adapters.parts.templates import TemplateSet
from ovbench.adapters.pixelwise.by_texts import ByTexts
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import SIDE, setting
from ovbench.harness.contract.stages import stage
from ovbench.models.pixels.inputs import kept_ratio, normalised, pillow_resized, pixels_of
from ovbench.models.pixels.scores import Scores
from ovbench.models.pixelwise.catseg import load_catseg

_WINDOWS = "released code, cat_seg/cat_seg_model.py, inference_sliding_window"


@dataclass(frozen=True)
class CATSegSettings:
    """Settings of :class:`CATSegMethod`."""

    weights: Literal["catseg_base", "catseg_large", "random"] = setting(
        "catseg_base",
        "released code, README: CAT-Seg (B)",
        "the network, its CLIP included: ViT-B/16, ViT-L/14, or random weights of the first",
        picks="catseg/{weights}",
    )
    prompts: TemplateSet = setting(
        "scene",
        "released code, configs/vitb_384.yaml, PROMPT_ENSEMBLE_TYPE: single",
        "set of prompt templates whose embeddings are averaged",
    )
    short_side: int = setting(
        640,
        "released code, configs/vitb_384.yaml, MIN_SIZE_TEST",
        "shorter side in pixels to which Pillow brings the picture first",
        least=1,
        most=SIDE,
    )
    max_long_side: int = setting(
        2560,
        "released code, configs/config.yaml, MAX_SIZE_TEST",
        "limit of its longer side",
        least=1,
        most=SIDE,
    )
    square: int = setting(
        640,
        f"{_WINDOWS}, out_res",
        "side in pixels of the square that the picture is squashed to",
        least=1,
        most=SIDE,
    )
    window: int = setting(
        384,
        f"{_WINDOWS}, kernel",
        "side of windows in pixels; the whole is seen as a square of this side, too",
        least=1,
        most=SIDE,
    )
    window_stride: int = setting(
        256,
        f"{_WINDOWS}: two thirds of kernel",
        "pixels between windows, which have to end at the square's edge",
        least=1,
        most=SIDE,
    )

    def __post_init__(self) -> None:
        if self.window > self.square:
            raise ValueError(f"window={self.window} must be at most square={self.square}")
        if self.window_stride > self.window:
            raise ValueError(
                f"window_stride={self.window_stride} must be at most window={self.window}"
            )
        if (self.square - self.window) % self.window_stride:
            raise ValueError(
                f"window_stride={self.window_stride} must divide square - window = "
                f"{self.square - self.window}"
            )


class CATSegMethod(ByTexts):
    """Probabilities in four windows and in the whole, averaged; the largest wins each pixel."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="CAT-Seg: CLIP's similarities, made to agree among places and among classes",
        kind="mask-supervised",
        paper="Cho et al., CVPR",
        year=2024,
        backbones=("CLIP",),
        weights=("catseg/catseg_base",),
        code_licence="mit",
    )
    Settings = CATSegSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "large": {"weights": "catseg_large"},  # README: CAT-Seg (L)
    }
    published: ClassVar[Sequence[Published]] = eight(
        names="catseg",
        source="released code, eval.sh and datasets/*.json",
        voc21={},
        context60=None,
        cocoobject=None,
        voc20={},
        context59={},
        cocostuff=None,
        ade20k={},
        cityscapes=None,
    )
    settings: CATSegSettings

    def __init__(self, settings: CATSegSettings, runtime: Runtime) -> None:
        self.settings = settings
        self._network = load_catseg(settings.weights, runtime)
        self.clip, self.checkpoints = self._network.clip, self._network.checkpoints
        self.joint = self._network.joint

    def scores(self, image: Image) -> Scores:
        """See :class:`~ovbench.adapters.pixelwise.by_texts.ByTexts`.

        The square's scores are held at once: 171 classes take 280 MB.
        """
        settings, network = self.settings, self._network
        size = (image.shape[0], image.shape[1])
        with stage("preprocess"):
            seen = kept_ratio(
                size, short_side=settings.short_side, max_long_side=settings.max_long_side
            )
            pixels = pixels_of(pillow_resized(image, seen, "bilinear"), network.device)[None]
            whole = _resized(pixels, settings.window)
            square = _resized(pixels, settings.square)
        tops = range(0, settings.square - settings.window + 1, settings.window_stride)
        total = torch.zeros(len(self.text), *square.shape[-2:], device=network.device)
        seen_by = torch.zeros(square.shape[-2:], device=network.device)
        for place in product(tops, tops):
            rows, columns = (slice(start, start + settings.window) for start in place)
            total[:, rows, columns] += self._probable(square[..., rows, columns])
            seen_by[rows, columns] += 1
        total /= seen_by
        total += _resized(self._probable(whole)[None], settings.square)[0]
        return Scores.enlarged(total.div_(2), size)

    def _probable(self, window: Tensor) -> Tensor:
        """Of every query at every pixel of a window, ``(Q, window, window)``."""
        network = self._network
        with stage("encode"):
            shown = _resized(normalised(window, network.clip.mean, network.clip.std), network.side)
            logits = network.logits(shown, self.text)
            return _resized(logits, self.settings.window)[0].sigmoid_()


def _resized(maps: Tensor, side: int) -> Tensor:
    """``(B, c, h, w)`` squashed to a square, bilinearly and without a look at more pixels."""
    if maps.shape[-2:] == (side, side):
        return maps
    return functional.interpolate(maps, (side, side), mode="bilinear", align_corners=False)
