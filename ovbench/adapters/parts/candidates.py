"""Which labels an answer may use."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.vocabulary import Vocabulary


def allowed_labels(
    vocabulary: Vocabulary, candidates: Collection[int] | None
) -> npt.NDArray[np.intp]:
    """The labels an image may be answered with, in order.

    Args:
        candidates: as :meth:`Segmenter.segment` gets them for one image. Background is
            always allowed; where nothing at all would be, everything is, since every pixel
            needs some label.
    """
    everything = np.arange(len(vocabulary))
    if candidates is None:
        return everything
    chosen = {*candidates, *range(vocabulary.offset)}
    return everything[np.isin(everything, sorted(chosen))] if chosen else everything


def pairs(
    images: Sequence[Image], candidates: Sequence[Collection[int]] | None
) -> Iterator[tuple[Image, Collection[int] | None]]:
    """Each image with its own candidates, None where there are none for any."""
    if candidates is None:
        return ((image, None) for image in images)
    return zip(images, candidates, strict=True)
