"""How groups of patches get names and pixels their scores, in GroupViT and those who follow it.

Xu et al., "GroupViT: Semantic Segmentation Emerges from Text Supervision" (CVPR 2022), released
code, segmentation/evaluation/group_vit_seg.py; OVSegmentor and SegCLIP evaluate by the same rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.parts.sliding import SIZES, Found, Sliding, SlidingSettings, sized
from ovbench.adapters.parts.templates import templates
from ovbench.harness.contract.settings import MANY, require_shares, setting
from ovbench.models.grouping.groups import Grouper


@dataclass(frozen=True)
class NamingSettings(SlidingSettings):
    """Settings of :class:`Naming`; a method's own stand in its subclass."""

    classes_at_a_time: int = setting(
        5,
        "released code of GroupViT, segmentation/evaluation/group_vit_seg.py",
        "a window has no more classes than this, those nearest to it as a whole; 0 is all",
        most=MANY,
    )
    background_threshold: float = setting(
        0.95,
        "released code of GroupViT, bg_thresh on VOC",
        "a group whose best class scores lower is background",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes_at_a_time < 0:
            raise ValueError("classes_at_a_time must not be negative")
        require_shares(self, "background_threshold")


class Naming(Sliding):
    """Every pixel has the scores of the group that its patch belongs to most."""

    settings: NamingSettings

    def __init__(self, settings: NamingSettings, model: Grouper) -> None:
        self.settings = sized(settings, SIZES, model.image_size)
        self._model = model
        self.checkpoints = model.checkpoints
        self.device, self.patch = model.device, model.patch

    def embed(self, texts: Sequence[str]) -> Tensor:
        """See :class:`~ovbench.adapters.parts.sliding.Sliding`."""
        return self._model.embed_queries(texts, templates("single"))

    def read(self, windows: Tensor) -> Found:
        """Groups, the whole, and of every pixel which group it belongs to, ``(n, h, w)``."""
        groups = self._model.groups(windows)
        size = (windows.shape[-2], windows.shape[-1])
        shares = functional.interpolate(groups.shares, size, mode="bilinear")
        return groups.vectors, groups.image, shares.argmax(dim=1)

    def scores(
        self, found: Found, windows: Tensor, queries: Tensor, background: bool
    ) -> tuple[Tensor, Tensor]:
        """See :class:`~ovbench.adapters.parts.sliding.Sliding`."""
        vectors, image, group = found
        text, scale = self.text[queries], self._model.logit_scale
        table = group_scores(vectors, image, text, scale, self.settings.classes_at_a_time)
        kept = table.amax((0, 1)) > 0
        kept[0] |= ~kept.any()
        rows = table[..., kept]
        if background:
            unsure = unsure_groups(table, self.settings.background_threshold)
            rows = torch.cat([unsure[..., None].float(), rows], dim=-1)
        places = group.flatten(1)[..., None].expand(-1, -1, rows.shape[-1])
        maps = rows.gather(1, places).mT
        return maps.reshape(*maps.shape[:2], *group.shape[1:]), queries[kept]


def group_scores(
    vectors: Tensor, image: Tensor, text: Tensor, scale: float, classes_at_a_time: int
) -> Tensor:
    """How much each group is of each class.

    A probability among all classes times one among those that the window as a whole is nearest to.

    Args:
        vectors: ``(n, G, d)``, of the groups of n windows, of unit length.
        image: ``(n, d)``, of the windows.
        text: ``(Q, d)``, of the classes.
        scale: factor on cosines before a softmax.
        classes_at_a_time: how many classes are near; 0 is all.

    Returns:
        ``(n, G, Q)``; 0 for classes that are not near.
    """
    logits = scale * vectors @ text.T
    probability = logits.softmax(dim=-1)
    if not 0 < classes_at_a_time < len(text):
        return probability.square()
    near = (image @ text.T).topk(classes_at_a_time, dim=-1).indices
    far = torch.ones(len(image), 1, len(text), dtype=torch.bool, device=text.device)
    far.scatter_(2, near[:, None], False)
    return probability * logits.masked_fill(far, -torch.inf).softmax(dim=-1)


def unsure_groups(table: Tensor, threshold: float) -> Tensor:
    """Which groups are background, ``(n, G)``, by :func:`group_scores`.

    Those whose best score is below the threshold, but never the best group of a window.
    """
    best = table.amax(dim=-1)
    return best < best.amax(dim=-1, keepdim=True).clamp(max=threshold)
