"""From a mask per class to a label per pixel. The paper looks for one class and needs no rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.ipseg.nearest import Mask
from ovbench.harness.protocol import LabelMap, Vocabulary
from ovbench.models.upsample import label_map


def similarity_in(mask: Mask, similarities: Tensor) -> float:
    """The mean similarity of a mask's pixels, each of which has its place's; 0 for none.

    Args:
        similarities: ``(g, g)``.
    """
    grid = len(similarities)
    share = functional.adaptive_avg_pool2d(torch.as_tensor(mask, dtype=torch.float32)[None], grid)
    weight = share[0].to(similarities.device)
    return float((weight * similarities).sum() / weight.sum().clamp(min=1e-9))


class Canvas:
    """A label map on which masks are painted in any order: the worthiest one shows.

    Of masks of equal worth the first one shows. No more than one mask is held at a time.
    """

    def __init__(self, size: tuple[int, int], vocabulary: Vocabulary) -> None:
        self._labels = np.zeros(size, vocabulary.label_dtype)
        self._worth = np.full(size, -np.inf, np.float32)

    def paint(self, mask: Mask, label: int, worth: float) -> None:
        """Give a class its mask."""
        taken = mask & (self._worth < np.float32(worth))
        self._labels[taken] = label
        self._worth[taken] = worth

    def finish(
        self,
        vocabulary: Vocabulary,
        labels: npt.NDArray[np.intp],
        similarities: Sequence[Tensor],
    ) -> LabelMap:
        """The labels; pixels in no mask are background, or of the most similar class.

        Args:
            labels: ``(n,)``, of the classes asked for.
            similarities: ``(g, g)`` for each.
        """
        bare = np.isneginf(self._worth)
        if vocabulary.background is None and bare.any():
            nearest = label_map(
                torch.stack(list(similarities)), labels, bare.shape, dtype=vocabulary.label_dtype
            )
            self._labels[bare] = nearest[bare]
        return self._labels
