"""Each pixel becomes the class whose name is the nearest colour."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import ImageColor

from ovbench.authoring import (
    Image,
    LabelMap,
    MethodCard,
    Runtime,
    UsageError,
    Vocabulary,
    setting,
    stage,
)


@dataclass(frozen=True)
class Settings:
    """Every number a user may change, each with its source."""

    unknown: str = setting("grey", "our choice: the middle", "colour of names that are none")
    gamma: float = setting(1.0, "our choice: as stored", "exponent applied to every channel")


class NearestColour:
    """A segmenter without weights."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="each pixel becomes the class whose name is the nearest colour",
        kind="training-free",
    )
    Settings: ClassVar[type[Settings]] = Settings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"linear": {"gamma": 2.2}}

    def __init__(self, settings: Settings, runtime: Runtime) -> None:
        self.settings = settings

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Look up the colour of every text query."""
        texts = [text for text, _ in vocabulary.queries]
        self.colours = self._linear(np.array([self._colour(text) for text in texts]))
        self.labels = np.array([label for _, label in vocabulary.queries])
        self.vocabulary = vocabulary

    def segment(
        self,
        images: Sequence[Image],
        candidates: Sequence[Collection[int]] | None = None,
    ) -> list[LabelMap]:
        """Label every pixel of every image."""
        allowed = candidates if candidates is not None else [None] * len(images)
        return [self._label(image, some) for image, some in zip(images, allowed, strict=True)]

    def _label(self, image: Image, candidates: Collection[int] | None) -> LabelMap:
        usable = np.ones(len(self.labels), dtype=bool)
        if candidates is not None:
            background = range(self.vocabulary.offset)
            usable = np.isin(self.labels, [*candidates, *background])
        with stage("match"):
            nearest = np.zeros(image.shape[:2], dtype=self.vocabulary.label_dtype)
            best = np.full(image.shape[:2], np.inf)
            pixels = self._linear(image)
            # One query at a time: no (queries, H, W) stack is ever kept.
            for colour, label in zip(self.colours[usable], self.labels[usable], strict=True):
                distance = ((pixels - colour) ** 2).sum(axis=-1)
                closer = distance < best
                nearest[closer], best[closer] = label, distance[closer]
        return nearest

    def _colour(self, text: str) -> tuple[int, ...]:
        try:
            return ImageColor.getrgb(text)[:3]
        except ValueError:
            pass
        try:
            return ImageColor.getrgb(self.settings.unknown)[:3]
        except ValueError:
            raise UsageError(f"unknown={self.settings.unknown}: not a colour") from None

    def _linear(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray((values / 255.0) ** self.settings.gamma)
