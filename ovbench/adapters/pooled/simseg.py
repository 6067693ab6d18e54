"""SimSeg: a few names are found in the picture as a whole, and each is cut out by itself.

Yi et al., "A Simple Framework for Text-Supervised Semantic Segmentation", CVPR 2023; released code:
github.com/muyangyi/SimSeg.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.parts.candidates import allowed_labels, pairs
from ovbench.adapters.parts.published import eight
from ovbench.adapters.parts.templates import TemplateSet, templates
from ovbench.adapters.pooled.squares import normalised, require_patches
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import MANY, SIDE, setting
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD, pillow_resized
from ovbench.models.pixels.labels import label_map
from ovbench.models.towers.simseg import load_simseg
from ovbench.refine.dense_crf import DenseCRF

EVALUATION = "released code, tools/seg_evaluation.py"
EPSILON = 1e-8
"""Keeps the CRF's logarithms finite; of the released code."""

REACH = 3
"""Pixels that a mask grows and shrinks by at a time: a square of 7."""


@dataclass(frozen=True)
class SimSegSettings:
    """Settings of :class:`SimSeg`."""

    weights: str = setting(
        "simseg_vitb",
        "README: the weights with the higher figures",
        "of the catalogue, or random",
        picks="simseg/{weights}",
    )
    prompts: TemplateSet = setting(
        "imagenet80",
        "released code, simseg/utils/prompt.py",
        "set of prompt templates whose embeddings are averaged",
    )
    side: int = setting(
        288,
        "released code, configs/clip/simseg.vit-*.yaml",
        "the picture is squashed to a square of so many pixels, a multiple of the patch",
        most=SIDE,
    )
    pooled: int = setting(
        5,
        "released code, configs/clip/simseg.vit-*.yaml, image_k",
        "in every channel, the mean of so many largest places stands for the picture",
        most=MANY,
    )
    compared: int = setting(
        10,
        f"{EVALUATION}: 10, for Context 30",
        "names nearest to the picture whose scores say what is a high one",
        most=MANY,
    )
    deviations: float = setting(
        1.0,
        EVALUATION,
        "a name is there if its score is so many standard deviations above those names' mean",
    )
    candidates: int = setting(
        5, EVALUATION, "no more names than this are there, background among them", most=MANY
    )
    crf_iterations: int = setting(
        3, EVALUATION, "of a dense CRF between a name and all else; 0 is off", most=MANY
    )
    dilations: int = setting(
        1,
        f"{EVALUATION} as it runs: its 5 is taken for OpenCV's destination",
        "then a mask grows by 3 pixels so many times",
        most=MANY,
    )
    erosions: int = setting(
        1,
        f"{EVALUATION} as it runs: its 3 is taken for OpenCV's destination",
        "and shrinks again by 3 pixels so many times",
        most=MANY,
    )

    def __post_init__(self) -> None:
        for name in ("side", "pooled", "compared", "candidates"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive")
        for name in ("crf_iterations", "dilations", "erosions"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")


class SimSeg:
    """Masks of names that stand out in a picture's scores; where they meet, the higher wins."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="SimSeg: names that stand out in a picture, each cut out by a dense CRF",
        kind="weakly trained",
        paper="Yi et al., CVPR",
        year=2023,
        backbones=("ViT", "BERT"),
        weights=("simseg/simseg_vitb",),
        code_licence="mit",
    )
    Settings = SimSegSettings
    published: ClassVar[Sequence[Published]] = eight(
        names="simseg",
        source=f"{EVALUATION} and data/label_category/",
        voc21={},
        context60={"compared": 30},
        cocoobject={},
        voc20=None,
        context59=None,
        cocostuff=None,
        ade20k=None,
        cityscapes=None,
    )

    def __init__(self, settings: SimSegSettings, runtime: Runtime) -> None:
        self.settings = settings
        self._model = load_simseg(settings.weights, runtime)
        self.checkpoints = self._model.checkpoints
        require_patches(settings.side, self._model.patch)
        self._crf = DenseCRF(
            iterations=settings.crf_iterations,
            spatial_weight=3,
            spatial_std=3,
            bilateral_weight=10,
            bilateral_std=40,
            colour_std=13,
        )

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Embed every query of the vocabulary, background's among them."""
        self._vocabulary = vocabulary
        self._labels = vocabulary.query_labels
        self._text = self._model.embed_queries(
            vocabulary.query_texts, templates(self.settings.prompts)
        )

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`; images are encoded together."""
        with stage("preprocess"):
            size = (self.settings.side, self.settings.side)
            squares = [pillow_resized(image, size, "bilinear") for image in images]
            pixels = normalised(squares, IMAGENET_MEAN, IMAGENET_STD, self._model.device)
        with stage("encode"):
            places = self._model.places(pixels)
        return [
            self._answer(found, square, image, chosen)
            for found, square, (image, chosen) in zip(
                places, squares, pairs(images, candidates), strict=True
            )
        ]

    def _answer(
        self, places: Tensor, square: Image, image: Image, candidates: Collection[int] | None
    ) -> LabelMap:
        vocabulary, settings = self._vocabulary, self.settings
        height, width, _ = image.shape
        allowed = np.isin(self._labels, allowed_labels(vocabulary, candidates))
        labels = self._labels[allowed]
        with stage("match"):
            text = self._text[torch.from_numpy(allowed)]
            scores = text @ spoken(places, settings.pooled)
            cosines = torch.einsum("qd,dhw->qhw", text, functional.normalize(places, dim=0))
            there = standing_out(
                scores, settings.compared, settings.deviations, settings.candidates
            )
        if vocabulary.background:
            answer = np.zeros((height, width), dtype=vocabulary.label_dtype)
        else:  # our choice: every pixel needs a label
            answer = label_map(cosines, labels, (height, width), dtype=vocabulary.label_dtype)
        rows, columns = (np.arange(n) * settings.side // n for n in (height, width))
        for query in reversed(there):  # the highest score comes last, over all others
            if labels[query] or not vocabulary.background:
                mask = self._mask(cosines[query], square)
                answer[mask[rows[:, None], columns]] = labels[query]
        return answer

    def _mask(self, cosines: Tensor, square: Image) -> npt.NDArray[np.bool_]:
        """Where a name is in the square, by its cosines with places ``(h, w)``."""
        settings = self.settings
        patch = settings.side // cosines.shape[0]
        heat = rescaled(cosines).repeat_interleave(patch, dim=0).repeat_interleave(patch, dim=1)
        with stage("crf"):
            unary = -(torch.stack([1 - heat, heat]) + EPSILON).log()
            mask = self._crf.labels(square, unary).float()[None]
        with stage("morphology"):
            mask = grown(mask, settings.dilations * REACH)
            mask = 1 - grown(1 - mask, settings.erosions * REACH)
        return mask[0].bool().cpu().numpy()


def spoken(places: Tensor, count: int) -> Tensor:
    """What stands for a picture of places ``(d, h, w)``: ``(d,)``, of unit length.

    In every channel the mean of so many largest values, at most of all.
    """
    values = places.flatten(1)
    largest = values.topk(min(count, values.shape[1]), dim=1).values
    return functional.normalize(largest.mean(dim=1), dim=0)


def standing_out(scores: Tensor, compared: int, deviations: float, most: int) -> list[int]:
    """Which scores ``(Q,)`` are high and above 0, by index, the highest first.

    Args:
        compared: of so many highest ones a mean and a sample's standard deviation are taken.
        deviations: how many of the latter above the former is high.
        most: how many of the highest are looked at, at most those that are compared.
    """
    values, index = scores.topk(min(compared, len(scores)))
    spread = values.std() if len(values) > 1 else values.new_zeros(())
    high = (values >= values.mean() + deviations * spread) & (values > 0)
    return [int(i) for i in index[:most][high[:most]]]


def rescaled(cosines: Tensor) -> Tensor:
    """From 0, where they are lowest, to 1; 0 everywhere where all are one."""
    low, high = cosines.min(), cosines.max()
    return (cosines - low) / (high - low).clamp_min(torch.finfo(cosines.dtype).tiny)


def grown(mask: Tensor, pixels: int) -> Tensor:
    """A mask ``(1, H, W)`` of 0 and 1, larger on all sides; what lies outside has no say."""
    return functional.max_pool2d(mask, 2 * pixels + 1, stride=1, padding=pixels)
