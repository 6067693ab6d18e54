"""What a method promises that can say why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.vocabulary import Exemplar


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """One reason why a pixel has its label.

    Attributes:
        source: what saw it, such as the name of a feature space.
        finding: what it found, in a few words.
        similarity: of the pixel to that, in the method's own measure.
        exhibits: pictures that show it, each with the region that counts.
    """

    source: str
    finding: str
    similarity: float
    exhibits: tuple[Exemplar, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Why a pixel has its label.

    Attributes:
        label: the method's answer there.
        evidence: strongest first.
    """

    label: int
    evidence: tuple[Evidence, ...]


@runtime_checkable
class Explaining(Protocol):
    """A :class:`Segmenter` that can say why, for ``ovbench explain``."""

    def explain(self, image: Image, x: int, y: int) -> Explanation:
        """Why :meth:`Segmenter.segment` answers as it does at one pixel.

        Called after ``prepare``, about the whole vocabulary.

        Args:
            image: RGB uint8 at original size.
            x, y: of the pixel, from the left and from the top, within the image.
        """
        ...
