"""One label map out of one mask per class, for methods that look for one class at a time.

Such a method answers every class as if nothing else were asked for, so masks may overlap and
leave pixels out. The rule is the same for all of these methods: a pixel in several masks goes
to the class whose mask has the highest score, the first one of equals; a pixel in none is
background, or, where the vocabulary has no background, goes to the class with the highest score.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ovbench.adapters.parts.candidates import allowed_labels
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.vocabulary import Vocabulary


class ClassMask(NamedTuple):
    """A method's answer to one class.

    Attributes:
        mask: ``(H, W)`` bool, at the image's size.
        score: how sure the method is; finite, and comparable between its classes.
    """

    mask: npt.NDArray[np.bool_]
    score: float


class Canvas:
    """A label map on which masks are painted in any order: the one with the highest score shows.

    Of masks of equal score the first one shows. No more than one mask is held at a time.

    Attributes:
        labels: ``(H, W)``; 0 where nothing was painted.
    """

    def __init__(self, size: tuple[int, int], vocabulary: Vocabulary) -> None:
        self.labels: LabelMap = np.zeros(size, dtype=vocabulary.label_dtype)
        self._scores = np.full(size, -np.inf, dtype=np.float32)

    def paint(self, mask: npt.NDArray[np.bool_], label: int, score: float) -> None:
        """Give a class its mask, ``(H, W)`` bool."""
        won = mask & (self._scores < np.float32(score))
        self.labels[won], self._scores[won] = label, score

    @property
    def bare(self) -> npt.NDArray[np.bool_]:
        """``(H, W)`` bool, the pixels in no mask."""
        return np.isneginf(self._scores)


def ask_each(
    ask: Callable[[int], ClassMask],
    vocabulary: Vocabulary,
    candidates: Collection[int] | None,
    size: tuple[int, int],
) -> LabelMap:
    """Ask for every class that may be answered with, and join the masks.

    The masks of two classes never exist together.

    Args:
        ask: answers the class of this index, from 0, in the vocabulary's classes.
        candidates: as :meth:`~ovbench.Segmenter.segment` gets them.
        size: height and width of the image.
    """
    canvas = Canvas(size, vocabulary)
    best, rest = -np.inf, 0
    allowed = allowed_labels(vocabulary, candidates)
    for label in allowed[allowed >= vocabulary.offset].tolist():
        mask, score = ask(label - vocabulary.offset)
        canvas.paint(mask, label, score)
        if score > best:
            best, rest = score, label
    if vocabulary.background is None:
        canvas.labels[canvas.bare] = rest
    return canvas.labels
