"""CLIPtrase: patches that correlate alike are a region, and the label of a region is voted for.

Shao, Tian, Zhao and Su, "Explore the Potential of CLIP for Training-Free Open Vocabulary Semantic
Segmentation", ECCV 2024; released code: github.com/leaves162/CLIPtrase. Its own scores are of
pictures and label maps that were resized and cropped to a square; here it is evaluated as the
rest of the family, so that those are no counterpart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize, scaled_dot_product_attention

from ovbench.adapters.parts.dense_clip import DenseCLIP, DenseCLIPSettings, refuse_first_block
from ovbench.adapters.parts.published import eight
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import FACTOR, MANY, setting
from ovbench.models.clip.last_block import attend
from ovbench.models.clip.trunk import Heads

FINER = 4
"""Votes are counted on a grid this many times as fine as the patches: the released code smooths
regions there (ratio), and counts at every pixel."""


@dataclass(frozen=True)
class CLIPtraseSettings(DenseCLIPSettings):
    """Settings of :class:`CLIPtrase`."""

    eps: float = setting(
        0.7,
        "released code, clip_self_correlation.py: 0.7 for 14x14 patches, 1.1 for 21x21",
        "how far apart the correlations of two patches of a region may be",
        most=FACTOR,
    )
    min_samples: int = setting(
        3,
        "released code, clip_self_correlation.py: 3 for 14x14 patches, 7 for 21x21",
        "patches within that distance from which on a patch begins a region",
        most=MANY,
    )
    image_logits: bool = setting(
        False,
        "released code: on VOC20 alone",
        "multiply every text's logits by its logit for the whole window",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.eps <= 0 or self.min_samples < 1:
            raise ValueError("eps and min_samples must be positive")


class CLIPtrase(DenseCLIP):
    """Three facets look at themselves; the block before says which patches belong together."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="CLIPtrase: self-correlation clusters vote for labels",
        kind="training-free",
        paper="Shao et al., ECCV",
        year=2024,
        backbones=("CLIP",),
        weights=("clip/ViT-B-16 openai",),
        code_licence="mit",
    )
    Settings = CLIPtraseSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # The released code's second resolution; how far its windows lie apart is our choice.
        "at_336": {"window": 336, "window_stride": 168, "eps": 1.1, "min_samples": 7},
    }
    published: ClassVar[Sequence[Published]] = eight(
        names=None,
        source="released code, clip_self_correlation.py, which evaluates on squares",
        voc21=None,
        context60=None,
        cocoobject=None,
        voc20={"image_logits": True},
        context59={},
        cocostuff={},
        ade20k={},
        cityscapes=None,
    )
    settings: CLIPtraseSettings

    def __init__(self, settings: CLIPtraseSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        refuse_first_block(self.clip, 2, "cliptrase reads the last two")

    def features(self, windows: Tensor) -> Tensor:
        """See :class:`~ovbench.adapters.parts.dense_clip.DenseCLIP`; before any vote."""
        return self._read(windows)[0]

    def cosines(self, windows: Tensor) -> Tensor:
        """After the vote: what a region elected has changed places with what won at a place.

        The vote is over all texts of the vocabulary, and of every window by itself.
        """
        features, tokens, correlations = self._read(windows)
        found = self.compared(features)
        if self.settings.image_logits:
            of_window = normalize(tokens, dim=-1) @ self.text.T
            found *= self.settings.logit_scale * of_window[..., None, None]
        fine = interpolate(found, scale_factor=FINER, mode="bilinear")
        labels = torch.from_numpy(self._labels).to(fine.device)
        for scores, correlation in zip(fine, correlations.cpu().numpy(), strict=True):
            regions = self._regions(correlation, found.shape[-2:])
            if regions is not None:
                elect(scores, labels, torch.from_numpy(regions).to(fine.device))
        return fine

    def _read(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features, class tokens, and which patches correlate above the class token's level."""
        trunk = self.clip.trunk(windows, positions=self.settings.positions, states=[-3])
        features, tokens = attend(trunk, every_facet, residual=True, mlp=True)
        correlation = self_correlation(trunk.at(-2).heads())
        return features, tokens, (correlation[:, 1:, 1:] - correlation[:, :1, 1:]).relu()

    def _regions(
        self, correlation: npt.NDArray[np.float32], grid: Sequence[int]
    ) -> npt.NDArray[np.intp] | None:
        """The region of every place of the finer grid, ``(4h, 4w)``; None where there is none.

        Args:
            correlation: ``(h * w, h * w)`` of one window.
        """
        from scipy.ndimage import median_filter
        from sklearn.cluster import DBSCAN

        scan = DBSCAN(eps=self.settings.eps, min_samples=self.settings.min_samples)
        member = scan.fit_predict(correlation)  # -1 is of no region
        if member.max() < 0:
            return None
        maps = np.stack([correlation[member == i].mean(0) for i in range(member.max() + 1)])
        coarse = torch.from_numpy(maps).reshape(1, -1, *grid)
        fine = interpolate(coarse, scale_factor=FINER, mode="bilinear")[0].numpy()
        side = 2 * FINER - 1
        smooth = median_filter(fine, size=(1, side, side))
        regions: npt.NDArray[np.intp] = smooth.argmax(axis=0)
        return regions


def every_facet(heads: Heads) -> Tensor:
    """Three softmaxes, over products of queries, of keys and of values, are added."""
    query, key, value, _ = heads
    found = [scaled_dot_product_attention(facet, facet, value) for facet in (query, key, value)]
    return found[0] + found[1] + found[2]


def self_correlation(heads: Heads) -> Tensor:
    """The mean cosine of two tokens' queries, keys and values in all heads; ``(B, n, n)``."""
    units = torch.cat([normalize(facet, dim=-1) for facet in heads[:3]], dim=1)
    joint = units.transpose(1, 2).flatten(2).float()
    return joint @ joint.mT / units.shape[1]


def elect(scores: Tensor, labels: Tensor, regions: Tensor) -> None:
    """Let every region have the label that wins at most of its places.

    Where another text wins, it and the strongest text of the elected label change places, so
    that the best score of a place stays what it was. Of equal votes the smallest label has it.

    Args:
        scores: ``(Q, h, w)``, changed in place.
        labels: of the texts, ``(Q,)``.
        regions: ``(h, w)``, counted from 0.
    """
    best = scores.argmax(dim=0, keepdim=True)
    votes = torch.zeros(int(regions.max()) + 1, int(labels.max()) + 1, device=scores.device)
    ballots = (regions.flatten(), labels[best].flatten())
    votes.index_put_(ballots, votes.new_ones(()), accumulate=True)
    elected = votes.argmax(dim=1)[regions]
    others = labels[:, None, None] != elected
    strongest = scores.masked_fill(others, -torch.inf).argmax(dim=0, keepdim=True)
    won, had = scores.gather(0, best), scores.gather(0, strongest)
    scores.scatter_(0, best, had).scatter_(0, strongest, won)
