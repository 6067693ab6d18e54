"""How similar is every place to the nearest prototype of each class?

With 171 classes of 65 prototypes a plain product keeps a similarity for each of 11,115
prototypes at every place, all but 171 of which are thrown away. Here a block of them exists at
a time, within :data:`BUDGET` bytes, and only the maxima are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

BUDGET = 32 * 2**20
"""Bytes of similarities that exist at a time (float32), whatever the numbers of places and
prototypes."""


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
    for row, index in enumerate(classes):
        vectors = prototypes.rows(index)
        for some, span in _blocks(len(vectors), places.shape[1], budget // 4):
            similarity = vectors[some] @ places[:, span]
            torch.maximum(best[row, span], similarity.amax(dim=0), out=best[row, span])
    return best.reshape(len(classes), *features.shape[1:])


def _blocks(rows: int, columns: int, most: int) -> Iterator[tuple[slice, slice]]:
    """Cut a matrix into blocks of at most ``most`` elements, whole columns where they fit."""
    height = max(1, min(rows, most))
    width = max(1, most // height)
    for left in range(0, columns, width):
        for top in range(0, rows, height):
            yield slice(top, top + height), slice(left, left + width)
