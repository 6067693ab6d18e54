"""Which prototype decided a pixel, and what in the support pictures it came from (section 4.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.ovdiff.matching import PrototypeSet
from ovbench.adapters.ovdiff.prototypes import KINDS, Prototypes
from ovbench.adapters.ovdiff.windows import Window
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.vocabulary import Exemplar

_MOST = 4
"""Pictures that are shown of a prototype that came from several."""


class Winner(NamedTuple):
    """The prototype nearest to a place.

    Attributes:
        similarity: cosine.
        row: of the prototype set.
    """

    similarity: float
    row: int


def working_place(
    place: tuple[int, int], shape: Sequence[int], working: Sequence[int]
) -> tuple[float, float]:
    """The centre of a pixel of an image, down and across, in the image's working size.

    Args:
        shape, working: of the image before and after, height and width first.
    """
    down, across = ((place[i] + 0.5) * working[i] / shape[i] for i in (0, 1))
    return down, across


def holds(window: Window, place: tuple[float, float]) -> bool:
    """Whether a place lies in a window."""
    down, across = place
    return window.top <= down < window.bottom and window.left <= across < window.right


def vector_at(features: Tensor, window: Window, place: tuple[float, float]) -> Tensor:
    """The features ``(D,)`` of the cell of ``(D, h, w)`` that a place of the window falls in."""
    height, width = window.size
    row = int((place[0] - window.top) / height * features.shape[1])
    column = int((place[1] - window.left) / width * features.shape[2])
    return features[:, row, column]


def nearest_prototype(
    vector: Tensor, prototypes: PrototypeSet, classes: Sequence[int]
) -> Winner | None:
    """The nearest of some classes' prototypes; None where they have none."""
    rows = [r for c in classes for r in range(prototypes.bounds[c], prototypes.bounds[c + 1])]
    if not rows:
        return None
    cosines = prototypes.vectors[rows] @ functional.normalize(vector, dim=0)
    best = int(torch.argmax(cosines))
    return Winner(float(cosines[best]), rows[best])


def described(prototypes: Prototypes, row: int) -> str:
    """A prototype in words: "the mean", "picture 3", "part 5"."""
    kind, source = KINDS[prototypes.kind[row]], int(prototypes.source[row])
    return {"class": "the mean", "instance": f"picture {source}", "part": f"part {source}"}[kind]


def exhibits(images: npt.NDArray[np.uint8], places: npt.NDArray[np.bool_]) -> tuple[Exemplar, ...]:
    """The pictures that most of a prototype came from, with the region in each.

    Args:
        images: ``(N, H, W, 3)``.
        places: ``(N, h, w)``, on the grid of the features.
    """
    areas = places.sum(axis=(1, 2))
    order = np.argsort(-areas, kind="stable")[:_MOST]
    return tuple(Exemplar(images[i], _enlarged(places[i], images[i])) for i in order if areas[i])


def _enlarged(mask: npt.NDArray[np.bool_], image: Image) -> npt.NDArray[np.bool_]:
    rows, columns = (
        np.arange(side) * cells // side
        for side, cells in zip(image.shape[:2], mask.shape, strict=True)
    )
    found: npt.NDArray[np.bool_] = mask[rows[:, None], columns]
    return found
