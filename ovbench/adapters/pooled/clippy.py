"""CLIPpy: places that learned from captions to speak for the whole picture, each named.

Ranasinghe et al., "Perceptual Grouping in Contrastive Vision-Language Models", ICCV 2023. Its
authors' weights are not public: the weights and the evaluation are kahnchana's
(github.com/kahnchana/clippy).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch.nn import functional

from ovbench.adapters.parts.candidates import allowed_labels, pairs
from ovbench.adapters.parts.published import eight
from ovbench.adapters.pooled.squares import normalised, require_patches
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import SIDE, setting
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.pixels.inputs import pillow_resized
from ovbench.models.pixels.labels import label_map
from ovbench.models.towers.clippy import MEAN, STD, load_clippy


@dataclass(frozen=True)
class CLIPpySettings:
    """Settings of :class:`CLIPpy`."""

    weights: str = setting(
        "clippy_5k",
        "unofficial code, README",
        "of the catalogue (unofficial), or random",
        picks="clippy/{weights}",
    )
    side: int = setting(
        224,
        "unofficial code, src/open_clip/model_configs/clippy-B-16.json; that the whole picture is "
        "squashed to it: notebooks/utils.py, and src/evaluation/utils.py of labels",
        "the picture is squashed to a square of so many pixels, a multiple of the patch",
        most=SIDE,
    )

    def __post_init__(self) -> None:
        if self.side < 1:
            raise ValueError("side must be positive")


class CLIPpy:
    """Cosines of places and texts, background's among them; the largest wins."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="CLIPpy: places that learned from captions, each named (unofficial weights)",
        kind="weakly trained",
        paper="Ranasinghe et al., ICCV",
        year=2023,
        backbones=("DINO", "Sentence-T5"),
        weights=("clippy/clippy_5k",),
        code_licence="unofficial: gpl-3.0",
    )
    Settings = CLIPpySettings
    published: ClassVar[Sequence[Published]] = eight(
        names="clippy",
        source="unofficial code, src/evaluation",
        voc21={},
        context60=None,
        cocoobject=None,
        voc20=None,
        context59=None,
        cocostuff=None,
        ade20k=None,
        cityscapes=None,
    )

    def __init__(self, settings: CLIPpySettings, runtime: Runtime) -> None:
        self.settings = settings
        self._model = load_clippy(settings.weights, runtime)
        self.checkpoints = self._model.checkpoints
        require_patches(settings.side, self._model.patch)

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Embed every query of the vocabulary; background's are texts like any other."""
        self._vocabulary = vocabulary
        self._labels = vocabulary.query_labels
        texts = [with_article(text.lower()) for text in vocabulary.query_texts]
        self._text = self._model.embed_queries(texts, ("a photo of {}",))

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`; images are encoded together."""
        vocabulary, side = self._vocabulary, self.settings.side
        with stage("preprocess"):
            squares = [pillow_resized(image, (side, side), "bicubic") for image in images]
            pixels = normalised(squares, MEAN, STD, self._model.device)
        with stage("encode"):
            places = functional.normalize(self._model.places(pixels), dim=1)
        answers = []
        for found, (image, chosen) in zip(places, pairs(images, candidates), strict=True):
            allowed = np.isin(self._labels, allowed_labels(vocabulary, chosen))
            with stage("match"):
                text = self._text[torch.from_numpy(allowed)]
                cosines = torch.einsum("qd,dhw->qhw", text, found)
            with stage("upsample"):
                size, dtype = (image.shape[0], image.shape[1]), vocabulary.label_dtype
                answers.append(label_map(cosines, self._labels[allowed], size, dtype=dtype))
        return answers


def with_article(name: str) -> str:
    """A name with "an" before a vowel and "a" before all else."""
    return f"an {name}" if name.startswith(tuple("aeiou")) else f"a {name}"
