"""PnP-OVSS: cross-attention of a vision-language model, sharpened, completed and smoothed.

Luo, Khandelwal, Sigal and Li, "Emergent Open-Vocabulary Semantic Segmentation from Off-the-shelf
Vision-Language Models", CVPR 2024. Nothing is trained, and no pixel's label is used.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ovbench.adapters.parts.candidates import allowed_labels, pairs
from ovbench.adapters.pnp_ovss.labels import label_map
from ovbench.adapters.pnp_ovss.pixels import squared
from ovbench.adapters.pnp_ovss.prompting import Asker, Question
from ovbench.adapters.pnp_ovss.salience import class_maps
from ovbench.adapters.pnp_ovss.settings import PRESETS, PnPOVSSSettings, settle
from ovbench.adapters.pnp_ovss.tuner import PnPOVSSTuner
from ovbench.adapters.pnp_ovss.vlm import load_vlm
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.matchers.matcher import Matcher


class PnPOVSS:
    """A prompt lists the classes; where the model looks for them decides."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="PnP-OVSS: where a vision-language model looks for each word",
        kind="training-free",
        paper="Luo et al., CVPR",
        year=2024,
        backbones=("BLIP or BridgeTower",),
        weights=("blip/blip_flickr",),
        code_licence="none stated",
    )
    Settings = PnPOVSSSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    def __init__(
        self, settings: PnPOVSSSettings, runtime: Runtime, model: Matcher | None = None
    ) -> None:
        """Load the weights, or take a model that is loaded already.

        Raises:
            UsageError: settings that do not go with the weights.
        """
        self._model = model or load_vlm(settings.vlm, runtime)
        self.settings = settle(settings, self._model)
        self.checkpoints = self._model.checkpoints

    @staticmethod
    def tuner(settings: PnPOVSSSettings, runtime: Runtime) -> PnPOVSSTuner:
        """The search of section 3.4; see :mod:`ovbench.harness.contract.tuning`."""
        return PnPOVSSTuner(settings, runtime)

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Write the prompts."""
        self._vocabulary = vocabulary
        self._asker = Asker(self._model, vocabulary, self.settings)
        self.notes = (self._asker.summary(),)

    @torch.no_grad()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`.

        All images are squashed to one size and computed together. Sums over another batch
        size round differently, so that a pixel between two classes may change sides.
        """
        allowed = [self._classes(chosen) for _, chosen in pairs(images, candidates)]
        questions = [self._ask(labels) for labels in allowed]
        with stage("preprocess"):
            pixels = squared(self._model, images, self.settings)
        maps = class_maps(self._model, pixels, questions, self.settings)
        return [self._answer(*each) for each in zip(images, questions, maps, allowed, strict=True)]

    def _classes(self, candidates: Collection[int] | None) -> tuple[int, ...]:
        labels = allowed_labels(self._vocabulary, candidates)
        return tuple(labels[labels >= self._vocabulary.offset].tolist())

    def _ask(self, labels: tuple[int, ...]) -> Question:
        if self.settings.prompt_classes == "candidates" and labels:
            return self._asker.question(labels)
        return self._asker.everything()

    def _answer(
        self, image: Image, question: Question, maps: Tensor, allowed: tuple[int, ...]
    ) -> LabelMap:
        chosen = np.isin(question.labels, allowed)
        kept = maps[torch.as_tensor(chosen, device=maps.device)]
        labels = question.labels[chosen]
        return label_map(kept, labels, image, self._vocabulary, self.settings)
