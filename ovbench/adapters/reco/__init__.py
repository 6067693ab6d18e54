"""ReCo: a class is what pictures have in common that CLIP finds for its name.

Shin, Xie and Albanie, "ReCo: Retrieve and Co-segment for Zero-shot Transfer", NeurIPS 2022;
released code: github.com/NoelShin/reco. Nothing is trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.parts.published import eight
from ovbench.adapters.parts.sliding import Found, Sliding
from ovbench.adapters.parts.templates import templates
from ovbench.adapters.reco.references import Eyes, load_references
from ovbench.adapters.reco.settings import ReCoSettings
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.stages import stage
from ovbench.models.clip.model import load_clip
from ovbench.models.patches.encoder import load_patch_encoder
from ovbench.models.pixels.inputs import pillow_resized, pillow_tensor
from ovbench.models.pixels.labels import label_map
from ovbench.models.pixels.windows import Windows
from ovbench.refine.dense_crf import DenseCRF, unary_from_probabilities

CRF = DenseCRF(
    spatial_weight=3.0, spatial_std=1.0, bilateral_weight=4.0, bilateral_std=67.0, colour_std=3.0
)
"""The released code, utils/crf.py; in pixels of the input."""


class ReCo(Sliding):
    """How much a place looks like a class's pictures, times how well its name describes it."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="ReCo: what retrieved pictures of a class have in common, and CLIP's dense values",
        kind="training-free",
        paper="Shin et al., NeurIPS",
        year=2022,
        backbones=("CLIP", "DeiT"),
        weights=("clip/RN50x16 openai", "dino/deit_s_sin_dist", "reco/reco_coco_stuff"),
        code_licence="none stated",
    )
    Settings = ReCoSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {"columns": "own"}}
    published: ClassVar[Sequence[Published]] = eight(
        names={"cocostuff": "reco", "cityscapes": "plain"},
        source="released code, configs/reco_*.yaml, with the vectors of its README",
        voc21=None,
        context60=None,
        cocoobject=None,
        voc20=None,
        context59=None,
        cocostuff={"references": "reco_coco_stuff"},
        ade20k=None,
        cityscapes={"references": "reco_cityscapes"},
    )
    # RN50x16 is 48 channels wide at a quarter of the pixels, some 100 MB a window.
    at_a_time: ClassVar[int] = 8
    settings: ReCoSettings

    def __init__(self, settings: ReCoSettings, runtime: Runtime) -> None:
        """Load the networks; with a folder, let the retrieving CLIP see its pictures.

        Raises:
            UsageError: weights, vectors or pictures that cannot be had.
        """
        self.settings = settings
        clip = load_clip(settings.dense_architecture, settings.dense_pretrained, runtime)
        encoder = load_patch_encoder("dino", settings.encoder, runtime)
        self._eyes = Eyes(encoder, clip, settings.sharpness)
        self._references = load_references(settings, self._eyes, runtime)
        used = (clip.checkpoint, *encoder.checkpoints, *self._references.checkpoints)
        self.checkpoints = tuple(dict.fromkeys(used))
        self.device = clip.device
        self.patch = self.multiple = math.lcm(clip.stride, encoder.patch_size)

    def embed(self, texts: Sequence[str]) -> Tensor:
        """See :class:`~ovbench.adapters.parts.sliding.Sliding`; also looks the classes up."""
        with stage("references"):
            self._looks = self._references.vectors(texts, self._embedded)
        return self._embedded(texts)

    def _embedded(self, texts: Sequence[str]) -> Tensor:
        return self._eyes.clip.embed_queries(texts, templates(self.settings.prompts))

    def read(self, windows: Tensor) -> Found:
        """Unit features of places for pictures, and others for texts."""
        return functional.normalize(self._eyes.places(windows), dim=1), self._eyes.words(windows)

    def scores(
        self, found: Found, windows: Tensor, queries: Tensor, background: bool
    ) -> tuple[Tensor, Tensor]:
        """Two probabilities multiplied; background's is a constant."""
        places, words = found
        size = (windows.shape[2], windows.shape[3])
        alike = torch.einsum("ndhw,qd->nqhw", places, self._looks[queries]).sigmoid()
        alike = functional.interpolate(alike, size, mode="bilinear", align_corners=False)
        scores = alike.mul_(self._eyes.told(words, self.text[queries], size))
        if background:
            constant = scores.new_full((len(scores), 1, *size), self.settings.background_score)
            scores = torch.cat([constant, scores], dim=1)
        return scores, queries

    def _input(self, image: Image) -> Tensor:
        """``(3, H', W')``, normalised; the nearest pixels, by Pillow."""
        return pillow_tensor(
            image,
            self._size(image),
            mean=self.mean,
            std=self.std,
            mode="nearest",
            device=self.device,
        )

    def _settle(
        self, maps: Tensor, windows: Windows, labels: npt.NDArray[np.intp], image: Image
    ) -> LabelMap:
        """By a dense CRF on the input's size, whose posterior is enlarged."""
        if not self.settings.crf_iterations:
            return super()._settle(maps, windows, labels, image)
        size = self._size(image)
        scores = windows.merge(maps, size).whole()
        crf = replace(CRF, iterations=self.settings.crf_iterations)
        refined = crf.posterior(
            pillow_resized(image, size, "nearest"),
            unary_from_probabilities(scores.softmax(dim=0)),
        )
        height, width, _ = image.shape
        return label_map(refined, labels, (height, width), dtype=self._vocabulary.label_dtype)
