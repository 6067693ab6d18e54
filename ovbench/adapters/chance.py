"""Floors that look at nothing: one label everywhere, and a random label at every pixel."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ovbench.adapters.parts.candidates import allowed_labels, pairs
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import setting
from ovbench.harness.contract.vocabulary import Vocabulary


@dataclass(frozen=True)
class ConstantSettings:
    """Settings of :class:`Constant`."""

    label: int = setting(
        0,
        "our choice: the background, where there is one",
        "index of the label to answer",
        most=65_535,
    )


@dataclass(frozen=True)
class RandomSettings:
    """Settings of :class:`Random`: it has none."""


class Constant:
    """One label for every pixel; the smallest allowed one where that label is not allowed."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="one label for every pixel of every image",
        kind="floor",
    )
    Settings = ConstantSettings

    def __init__(self, settings: ConstantSettings, runtime: Runtime) -> None:
        self._label = settings.label

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Raises UsageError where the vocabulary has no such label."""
        if not 0 <= self._label < len(vocabulary):
            last = len(vocabulary) - 1
            raise UsageError(f"setting label={self._label}: the labels here are 0..{last}")
        self._vocabulary = vocabulary

    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`."""
        return [self._fill(image, c) for image, c in pairs(images, candidates)]

    def _fill(self, image: Image, candidates: Collection[int] | None) -> LabelMap:
        allowed = allowed_labels(self._vocabulary, candidates)
        label = self._label if self._label in allowed else allowed[0]
        return np.full(image.shape[:2], label, dtype=self._vocabulary.label_dtype)


class Random:
    """A label drawn uniformly from the allowed ones, for every pixel apart.

    The draw depends on the runtime's seed and the image's content alone, hence neither on
    the batch nor on the order of the images.
    """

    card: ClassVar[MethodCard] = MethodCard(
        summary="a uniformly random label for every pixel",
        kind="floor",
    )
    Settings = RandomSettings

    def __init__(self, settings: RandomSettings, runtime: Runtime) -> None:
        self._seed = runtime.seed

    def prepare(self, vocabulary: Vocabulary) -> None:
        """See :class:`~ovbench.Segmenter`."""
        self._vocabulary = vocabulary

    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`."""
        return [self._draw(image, c) for image, c in pairs(images, candidates)]

    def _draw(self, image: Image, candidates: Collection[int] | None) -> LabelMap:
        content = zlib.crc32(image.tobytes())
        rng = np.random.default_rng([self._seed, content])
        dtype: np.dtype[Any] = self._vocabulary.label_dtype
        allowed = allowed_labels(self._vocabulary, candidates).astype(dtype)
        return allowed[rng.integers(len(allowed), size=image.shape[:2])]
