"""Two floors that every method must clear: one label everywhere, and random labels."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ovbench.errors import UsageError
from ovbench.harness.protocol import Image, LabelMap, Runtime, Vocabulary
from ovbench.harness.settings import setting


@dataclass(frozen=True)
class ConstantSettings:
    """Settings of :class:`Constant`."""

    label: int = setting(0, "our choice: background where there is one", "the label to answer")


class Constant:
    """Answers one label for every pixel; where that is no candidate, the first that is."""

    Settings: ClassVar[type[ConstantSettings]] = ConstantSettings

    def __init__(self, settings: ConstantSettings, runtime: Runtime) -> None:
        self.settings = settings

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Check that the label exists.

        Raises:
            UsageError: it does not.
        """
        if not 0 <= self.settings.label < len(vocabulary):
            raise UsageError(
                f"label={self.settings.label}: the vocabulary has labels 0 to {len(vocabulary) - 1}"
            )
        self.vocabulary = vocabulary

    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """One constant map per image."""
        dtype = self.vocabulary.label_dtype
        allowed = allowed_labels(self.vocabulary, len(images), candidates)
        wanted = self.settings.label
        return [
            np.full(image.shape[:2], wanted if wanted in labels else labels[0], dtype=dtype)
            for image, labels in zip(images, allowed, strict=True)
        ]


@dataclass(frozen=True)
class RandomSettings:
    """Random has nothing to set; its seed is the run's."""


class Random:
    """Answers a uniformly random label for every pixel."""

    Settings: ClassVar[type[RandomSettings]] = RandomSettings

    def __init__(self, settings: RandomSettings, runtime: Runtime) -> None:
        self.settings, self.runtime = settings, runtime

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Remember the vocabulary."""
        self.vocabulary = vocabulary

    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """One random map per image, which depends on the seed and the image alone."""
        allowed = allowed_labels(self.vocabulary, len(images), candidates)
        return [self._draw(image, labels) for image, labels in zip(images, allowed, strict=True)]

    def _draw(self, image: Image, labels: npt.NDArray[np.int64]) -> LabelMap:
        # The image's own bytes enter the seed, so that neither order nor batch matters.
        rng = np.random.default_rng([self.runtime.seed, zlib.crc32(image.tobytes())])
        choice = rng.integers(0, len(labels), image.shape[:2])
        return labels.astype(self.vocabulary.label_dtype)[choice]


def allowed_labels(
    vocabulary: Vocabulary, count: int, candidates: Sequence[Collection[int]] | None
) -> list[npt.NDArray[np.int64]]:
    """Per image the labels to choose from, sorted: its candidates and the background."""
    if candidates is None:
        return [np.arange(len(vocabulary))] * count
    background = range(vocabulary.offset)
    return [np.array(sorted({*labels, *background}), dtype=np.int64) for labels in candidates]
