"""Image-prompted benchmarks: a picture, and another one that shows what to look for in it."""

from __future__ import annotations

import filecmp
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ovbench.datasets.choosing.choices import Choices
from ovbench.datasets.reading.encoding import LabelEncoding
from ovbench.datasets.reading.files import require_size
from ovbench.errors import DataError, UsageError
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.datasets import (
    BackgroundRule,
    DatasetInfo,
    Prompt,
    PromptSource,
    Sample,
)
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Exemplar, Vocabulary
from ovbench.harness.files.images import read_image

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

    def file(self, name: str) -> Path:
        """Where a picture is."""
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
        chosen: every episode of a class is shown what the vocabulary shows of it, not the
            support that was drawn.
    """

    def __init__(
        self,
        info: DatasetInfo,
        vocabulary: Vocabulary,
        episodes: Sequence[Episode],
        pictures: Pictures,
        *,
        chosen: bool = False,
    ) -> None:
        self.info = info
        self.vocabulary = vocabulary
        self.ids = [episode.id for episode in episodes]
        self._episodes = episodes
        self._pictures = pictures
        self.chosen = chosen
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
        return Sample(episode.id, image, label, self._prompt_of(episode))

    def decode(self, raw: LabelMap, source: Path) -> LabelMap:
        """Labels of the vocabulary, as they are: the files' own masks name no class.

        Raises:
            DataError: a value that is no label; names the file.
        """
        labels = {label: label for label in range(len(self.vocabulary))}
        return LabelEncoding.of(self.info.name, labels).decode(raw, source)

    def shown_by(
        self, vocabulary: Vocabulary, source: PromptSource | None, left_out: Collection[str]
    ) -> EpisodeDataset:
        """The same questions, asked by chosen pictures.

        Args:
            vocabulary: this one's classes with their exemplars; without any, prompts are empty.
            source: of the exemplars, as far as it is known.
            left_out: ids of episodes that are not asked.
        """
        asked = [episode for episode in self._episodes if episode.id not in left_out]
        info = replace(self.info, prompts=source)
        return EpisodeDataset(info, vocabulary, asked, self._pictures, chosen=True)

    def asking(self, files: Iterable[Path]) -> list[str]:
        """Ids of the episodes whose picture is, byte by byte, one of some files."""
        of_size: dict[int, list[Path]] = {}
        for file in files:
            of_size.setdefault(file.stat().st_size, []).append(file)

        def is_one(name: str) -> bool:
            path = self._pictures.file(name)
            if not path.is_file():  # loading it says so
                return False
            alike = of_size.get(path.stat().st_size, ())
            return any(filecmp.cmp(path, file, shallow=False) for file in alike)

        found = {name: is_one(name) for name in {episode.query for episode in self._episodes}}
        return [episode.id for episode in self._episodes if found[episode.query]]

    def asked_labels(self, left_out: Collection[str] = ()) -> set[int]:
        """The classes of all episodes but some, by their labels."""
        return {e.label for e in self._episodes if e.id not in left_out}

    def _prompt_of(self, episode: Episode) -> Prompt:
        if not self.chosen:
            return self._prompt(episode.support, episode.label)
        query = self._query_of(episode.label)
        return _prompt(query.name, query.name, query.exemplars, episode.label)

    def _read_prompt(self, support: str, label: int) -> Prompt:
        image, mask = self._pair(support, label)
        if not mask.any():
            raise DataError(f"{self.info.name}: the picture {support} shows nothing to look for")
        name = self._query_of(label).name
        return _prompt(f"{support}: {name}", name, (Exemplar(image, mask),), label)

    def _query_of(self, label: int) -> ClassQuery:
        return self.vocabulary.classes[label - self.vocabulary.offset]

    def _pair(self, name: str, label: int) -> tuple[Image, Mask]:
        picture = self._pictures.file(name)
        image, mask = read_image(picture), self._pictures.mask(name, label)
        require_size(f"{self.info.name}: the mask of {name}", mask.shape, name, image, picture)
        return image, mask


def _prompt(key: str, name: str, exemplars: tuple[Exemplar, ...], label: int) -> Prompt:
    query = ClassQuery(name, exemplars=exemplars)
    return Prompt(key, Vocabulary((query,), Background()), (0, label))


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
