"""What these methods share: every query is a text, background's among them; the largest wins."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ovbench.adapters.parts.candidates import allowed_labels, pairs
from ovbench.adapters.parts.templates import templates
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.clip.model import CLIP
from ovbench.models.pixels.labels import decide
from ovbench.models.pixels.scores import Scores


class ByTexts(ABC):
    """From texts and scores of pixels to labels.

    Attributes:
        clip: whose texts the network was trained with.
        joint: how many numbers a vector of the network has.
        text: ``(Q, joint)`` float32 of unit length, of every query, once they are prepared.
    """

    clip: CLIP
    joint: int
    text: Tensor
    settings: Any  # with prompts; a subclass narrows it to its own

    @abstractmethod
    def scores(self, image: Image) -> Scores:
        """Of all queries at an image's own size."""

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Embed every query of the vocabulary.

        Raises:
            UsageError: another CLIP than the network was trained with.
        """
        self._vocabulary = vocabulary
        self._labels = vocabulary.query_labels
        self.text = self.clip.embed_queries(
            vocabulary.query_texts, templates(self.settings.prompts)
        )
        if self.text.shape[1] != self.joint:
            raise UsageError(
                f"{self.clip.checkpoint.name} embeds texts in {self.text.shape[1]} numbers and the "
                f"network pixels in {self.joint}: set architecture to the CLIP that it learned from"
            )

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`; images are seen one by one."""
        return [self._answer(image, chosen) for image, chosen in pairs(images, candidates)]

    def _answer(self, image: Image, candidates: Collection[int] | None) -> LabelMap:
        vocabulary, scores = self._vocabulary, self.scores(image)
        allowed = np.isin(self._labels, allowed_labels(vocabulary, candidates))
        with stage("upsample"):
            return decide(
                scores.of(torch.from_numpy(allowed)),
                self._labels[allowed],
                dtype=vocabulary.label_dtype,
            )
