"""Image-prompted benchmarks: a picture, and another one that shows what to look for in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ovbench.datasets.choices import Choices
from ovbench.datasets.encoding import LabelEncoding
from ovbench.errors import DataError, UsageError
from ovbench.harness.protocol import (
    Background,
    BackgroundRule,
    ClassQuery,
    DatasetInfo,
    Exemplar,
    Image,
    LabelMap,
    Prompt,
    Sample,
    Vocabulary,
)

Mask = npt.NDArray[np.bool_]
"""Pixels of an object, ``(H, W)``."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One question.

    Attributes:
        id: of the sample.
        query: the picture to segment; ``support``: the one that shows what to look for.
        label: of what to look for, in the dataset's vocabulary; 1 for its first class.
    """

    id: str
    query: str
    support: str
    label: int


class Pictures(Protocol):
    """Pictures and the objects in them."""

    def image(self, name: str) -> Image:
        """A picture, RGB ``(H, W, 3)`` uint8.

        Raises:
            DataError: missing or corrupt; names the file.
        """
        ...

    def mask(self, name: str, label: int) -> Mask:
        """Where a class is in a picture, ``(H, W)``.

        Raises:
            DataError: missing or corrupt; names the file.
        """
        ...


class EpisodeDataset:
    """Episodes whose label maps hold 0 and the episode's class.

    Attributes:
        vocabulary: background and every class that occurs.
    """

    def __init__(
        self,
        info: DatasetInfo,
        vocabulary: Vocabulary,
        episodes: Sequence[Episode],
        pictures: Pictures,
    ) -> None:
        self.info = info
        self.vocabulary = vocabulary
        self.ids = [episode.id for episode in episodes]
        self._episodes = episodes
        self._pictures = pictures
        # A reference may show what to look for in several pictures in a row.
        self._prompt = lru_cache(maxsize=4)(self._read_prompt)

    def load(self, index: int) -> Sample:
        """Read sample ``index``.

        Raises:
            DataError: a file is missing, corrupt or of another size.
        """
        episode = self._episodes[index]
        image, mask = self._pair(episode.query, episode.label)
        label = mask.astype(self.vocabulary.label_dtype)
        label *= episode.label
        return Sample(episode.id, image, label, self._prompt(episode.support, episode.label))

    def decode(self, raw: LabelMap, source: Path) -> LabelMap:
        """Labels of the vocabulary, as they are: the files' own masks name no class.

        Raises:
            DataError: a value that is no label; names the file.
        """
        labels = {label: label for label in range(len(self.vocabulary))}
        return LabelEncoding.of(self.info.name, labels).decode(raw, source)

    def _read_prompt(self, support: str, label: int) -> Prompt:
        image, mask = self._pair(support, label)
        if not mask.any():
            raise DataError(f"{self.info.name}: the picture {support} shows nothing to look for")
        name = self.vocabulary.classes[label - self.vocabulary.offset].name
        query = ClassQuery(name, exemplars=(Exemplar(image, mask),))
        return Prompt(f"{support}: {name}", Vocabulary((query,), Background()), (0, label))

    def _pair(self, name: str, label: int) -> tuple[Image, Mask]:
        image, mask = self._pictures.image(name), self._pictures.mask(name, label)
        if mask.shape != image.shape[:2]:
            raise DataError(
                f"{self.info.name}: the picture {name} has {image.shape[1]}x{image.shape[0]} "
                f"pixels, its mask {mask.shape[1]}x{mask.shape[0]}"
            )
        return image, mask


def episode_info(
    choices: Choices,
    name: str,
    split: str,
    num_classes: int,
    expected: int | None,
    variant: str | None = None,
) -> DatasetInfo:
    """What a result says of an image-prompted benchmark: its classes are scored, background not.

    Raises:
        UsageError: background is to be left out.
    """
    rule: BackgroundRule = choices.background_of(name)
    if rule == "ignore":
        raise UsageError(f"{name}: what is not the object is its background and cannot be ignored")
    scored = tuple(range(1, num_classes + 1))
    return DatasetInfo(
        name, split, rule, 255, expected, variant=variant, scored=scored, prompted=True
    )
