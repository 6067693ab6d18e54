"""SCLIP: in CLIP's last block, queries look at queries and keys at keys.

Wang, Mei and Yuille, "SCLIP: Rethinking Self-Attention for Dense Vision-Language Inference",
ECCV 2024; released code: github.com/wangf3014/SCLIP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ovbench.adapters.parts.dense_clip import DenseCLIP, DenseCLIPSettings
from ovbench.adapters.parts.published import eight
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.models.clip.trunk import Heads


class SCLIP(DenseCLIP):
    """The last block is kept whole but for its attention."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="SCLIP: correlative self-attention in CLIP's last block",
        kind="training-free",
        paper="Wang et al., ECCV",
        year=2024,
        backbones=("CLIP",),
        weights=("clip/ViT-B-16 openai",),
        code_licence="none stated",
    )
    Settings = DenseCLIPSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "plus_pamr": {"pamr_iterations": 10},
    }
    published: ClassVar[Sequence[Published]] = eight(
        names="sclip",
        source="released code, configs/",
        voc21={"logit_scale": 65.0, "background_threshold": 0.1, "area_share": 0.1},
        context60={"logit_scale": 50.0, "background_threshold": 0.1},
        cocoobject={"logit_scale": 50.0, "background_threshold": 0.1},
        voc20={},
        context59={},
        cocostuff={"short_side": 448},
        ade20k={},
        cityscapes={"short_side": 560},
    )

    def features(self, windows: Tensor) -> Tensor:
        """See :class:`~ovbench.adapters.parts.dense_clip.DenseCLIP`."""
        positions = self.settings.positions
        return self.clip.attended_features(windows, correlative, positions=positions)[0]


def correlative(heads: Heads) -> Tensor:
    """Two softmaxes, over products of queries and of keys, are added and not averaged."""
    query, key, value, _ = heads
    return scaled_dot_product_attention(query, query, value) + scaled_dot_product_attention(
        key, key, value
    )
