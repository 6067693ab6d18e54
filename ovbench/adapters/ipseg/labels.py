"""From a mask per class to a label per pixel. The paper looks for one class and needs no rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.ipseg.nearest import Mask
from ovbench.adapters.parts import joining
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.pixels.labels import label_map


def similarity_in(mask: Mask, similarities: Tensor) -> float:
    """The mean similarity of a mask's pixels, each of which has its place's; 0 for none.

    Args:
        similarities: ``(g, g)``.
    """
    grid = len(similarities)
    share = functional.adaptive_avg_pool2d(torch.as_tensor(mask, dtype=torch.float32)[None], grid)
    weight = share[0].to(similarities.device)
    return float((weight * similarities).sum() / weight.sum().clamp(min=1e-9))


class Canvas(joining.Canvas):
    """Masks painted by :class:`joining.Canvas`'s rule, and what becomes of pixels in none."""

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
        bare = self.bare
        if vocabulary.background is None and bare.any():
            nearest = label_map(
                torch.stack(list(similarities)), labels, bare.shape, dtype=vocabulary.label_dtype
            )
            self.labels[bare] = nearest[bare]
        return self.labels
