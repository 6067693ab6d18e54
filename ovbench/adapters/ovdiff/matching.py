"""How similar is every place to the nearest prototype of each class?

With 171 classes of 65 prototypes a plain product keeps a similarity for each of 11,115
prototypes at every place, all but 171 of which are thrown away. Here a block of them exists at
a time, within :data:`BUDGET` bytes, and only the maxima are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

BUDGET = 32 * 2**20
"""Bytes of similarities that exist at a time (float32), whatever the numbers of places and
prototypes."""

_ROWS = 512
"""Prototypes multiplied at a time where the budget allows: with few, a matrix product spends its
time on arranging the features, again and again."""


@dataclass(frozen=True, slots=True, eq=False)
class PrototypeSet:
    """Prototypes of several classes, those of a class in a row.

    Attributes:
        vectors: ``(P, D)`` float32, of unit length.
        bounds: class ``i`` has the rows ``bounds[i]`` to ``bounds[i + 1]``; ``K + 1`` numbers.
    """

    vectors: Tensor
    bounds: tuple[int, ...]

    @classmethod
    def of(cls, classes: Sequence[Tensor]) -> PrototypeSet:
        """Classes with ``(p, D)`` prototypes of any length each, at least one class."""
        bounds = [0]
        for vectors in classes:
            bounds.append(bounds[-1] + len(vectors))
        return cls(functional.normalize(torch.cat(list(classes)), dim=1), tuple(bounds))

    def rows(self, index: int) -> Tensor:
        """The prototypes of a class, ``(p, D)``."""
        return self.vectors[self.bounds[index] : self.bounds[index + 1]]


def nearest_similarity(
    features: Tensor, prototypes: PrototypeSet, classes: Sequence[int], budget: int = BUDGET
) -> Tensor:
    """The cosine to the nearest prototype of each class, at every place.

    Args:
        features: ``(D, h, w)`` float32, of any length.
        classes: of the set, in the order of the answer; others cost nothing.
        budget: bytes of similarities that may exist at a time.

    Returns:
        ``(len(classes), h, w)`` float32; -1, the least cosine, for a class without prototypes.
    """
    places = functional.normalize(features.flatten(1), dim=0)
    best = places.new_full((len(classes), places.shape[1]), -1.0)
    width = max(1, min(places.shape[1], budget // 4 // _ROWS))
    segments = [
        Segment(row, *prototypes.bounds[index : index + 2]) for row, index in enumerate(classes)
    ]
    for left in range(0, places.shape[1], width):
        some, found = places[:, left : left + width], best[:, left : left + width]
        for block in blocks(segments, max(1, budget // 4 // width)):
            first = block[0].start
            similarity = prototypes.vectors[first : block[-1].stop] @ some
            for row, start, stop in block:
                nearest = similarity[start - first : stop - first].amax(dim=0)
                torch.maximum(found[row], nearest, out=found[row])
    return best.reshape(len(classes), *features.shape[1:])


class Segment(NamedTuple):
    """Prototypes ``start`` to ``stop``, which count for a row of the answer."""

    row: int
    start: int
    stop: int


def blocks(segments: Iterable[Segment], height: int) -> Iterator[list[Segment]]:
    """Cut and join segments into blocks of adjacent prototypes, at most ``height`` of them."""
    block: list[Segment] = []
    for row, begin, stop in segments:
        start = begin
        while start < stop:
            if block and (block[-1].stop != start or start - block[0].start >= height):
                yield block
                block = []
            end = min(stop, (block[0].start if block else start) + height)
            block.append(Segment(row, start, end))
            start = end
    if block:
        yield block
