"""What SC-CLIP and SFP share: CLIP's own earlier blocks mend what its last block is given.

Bai et al., "Self-Calibrated CLIP for Training-Free Open-Vocabulary Segmentation" (IEEE TIP 2025;
github.com/SuleBai/SC-CLIP, clip/model.py). Jin et al.'s SFP (ICCV 2025) keeps the path and finds
anomalies by other signs. Everything is done window by window; the grid need not be square, where
both released codes fail.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from ovbench.adapters.parts.affinity import cosine_graph, spread
from ovbench.adapters.parts.anomalies import by_density, filled
from ovbench.adapters.parts.dense_clip import DenseCLIP, DenseCLIPSettings
from ovbench.adapters.parts.depth import check_blocks, early_blocks
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import FACTOR, MANY, require_shares, setting
from ovbench.models.clip.trunk import Heads, Mending, on_grid

_DEPTH = "of a ViT-B's blocks, from 0; the same share of the depth in others"


@dataclass(frozen=True)
class SelfCalibrationSettings(DenseCLIPSettings):
    """Settings of :class:`SelfCalibration`."""

    neighbours: int = setting(
        30,
        "released code, lof_pytorch: n_neighbors",
        "whose distances tell an outlier among patches",
        most=MANY,
    )
    outlier_share: float = setting(
        0.05,
        "released code, lof_pytorch: contamination",
        "share of a window's patches that are outliers by these distances",
    )
    least_cosine: float = setting(
        0.4, "released code, forward: thres", "cosines of patches below this are 0 in both graphs",
        least=-1, most=1,
    )  # fmt: skip
    sharpness: float = setting(
        3.0, "released code, custom_attn", "factor on cosines above their mean before the softmax",
        least=0, most=FACTOR,
    )  # fmt: skip
    semantic_block: int = setting(
        8, "released code, forward", f"whose patches tell what is alike; {_DEPTH}"
    )
    spatial_block: int = setting(
        3, "released code, forward", f"whose patches smooth the result; {_DEPTH}"
    )
    levels: tuple[int, ...] = setting(
        tuple(range(3, 10)),
        "released code, forward: from cross_s=3, before cross_e=10",
        f"what leaves these is added up and follows the last block's path, if any; {_DEPTH}",
    )
    class_share: float = setting(
        0.3, "released code, res_cls", "share of the class token that every patch is given",
        least=0, most=1,
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours < 1:
            raise ValueError("neighbours must be positive")
        require_shares(self, "outlier_share")
        for name, blocks in (
            ("semantic_block", (self.semantic_block,)),
            ("spatial_block", (self.spatial_block,)),
            ("levels", self.levels),
        ):
            check_blocks(name, blocks)


class SelfCalibration(DenseCLIP):
    """Outliers are filled, patches that are alike are averaged, blocks are added up."""

    settings: SelfCalibrationSettings
    attentions: Collection[int] = ()
    """Of which blocks the weights are asked for: of the last but one, or none."""
    mending: Mending | None = None
    """What is done to every block's tokens, where that is anything."""

    def __init__(self, settings: SelfCalibrationSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        asked = (settings.semantic_block, settings.spatial_block, *settings.levels)
        self._semantic, self._spatial, *self._levels = early_blocks(self.clip, asked)

    @abstractmethod
    def attention(self, heads: Heads, cosines: Tensor) -> Tensor:
        """What every patch takes from the others in the last block.

        Args:
            heads: of the patches alone, ``(B, heads, n, d)``.
            cosines: between their tokens in the semantic block, ``(B, 1, n, n)``.

        Returns:
            ``(B, heads, n, d)``.
        """

    def attention_of_levels(self, heads: Heads, cosines: Tensor) -> Tensor:
        """The same for the sum over the levels."""
        return self.attention(heads, cosines)

    def anomalous(self, tokens: Tensor, weights: Tensor | None) -> Tensor:
        """Which patches are outliers, ``(B, n)`` bool.

        Args:
            tokens: what left a block, ``(B, 1 + n, width)``.
            weights: of its attention, ``(B, heads, 1 + n, 1 + n)``, where they were asked for.
        """
        settings, patches = self.settings, tokens[:, 1:]
        return by_density(patches, neighbours=settings.neighbours, share=settings.outlier_share)

    def features(self, windows: Tensor) -> Tensor:
        """See :class:`~ovbench.adapters.parts.dense_clip.DenseCLIP`."""
        trunk = self.clip.trunk(
            windows,
            positions=self.settings.positions,
            states={self._semantic, self._spatial, *self._levels},
            attentions=self.attentions,
            mending=self.mending,
        )
        weights = trunk.attentions.get(self.clip.layers - 2)
        anomalous = self.anomalous(trunk.tokens, weights)
        last, semantic = (
            filled(tokens[:, 1:], anomalous, trunk.grid)
            for tokens in (trunk.tokens, trunk.states[self._semantic])
        )
        cosines = cosine_graph(semantic.float().mT)
        last = spread(self.strong(cosines), last)
        cosines = cosines[:, None]

        def looked(attention: Callable[[Heads, Tensor], Tensor], patches: Tensor) -> Tensor:
            return trunk.mixed(attention(trunk.heads(patches), cosines))

        share = self.settings.class_share
        found = looked(self.attention, last) + share * trunk.tokens[:, :1]
        if self._levels:
            level = torch.stack([trunk.states[block] for block in self._levels]).sum(dim=0)
            found += looked(self.attention_of_levels, level[:, 1:]) + share * level[:, :1]
        graph = self.strong(cosine_graph(trunk.states[self._spatial][:, 1:].float().mT))
        return on_grid(trunk.joint(spread(graph, found)), trunk.grid)

    def strong(self, cosines: Tensor) -> Tensor:
        """Cosines of which the small ones are 0."""
        return cosines.masked_fill(cosines < self.settings.least_cosine, 0)
