"""SFP: patches that the class token looks at too much are filled before CLIP's last block.

Jin et al., "Feature Purification Matters: Suppressing Outlier Propagation for Training-Free
Open-Vocabulary Semantic Segmentation", ICCV 2025; released code: github.com/Kimsure/SFP,
SFP_ICCV/clip/model.py, which continues SC-CLIP's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ovbench.adapters.parts.affinity import centred_softmax
from ovbench.adapters.parts.anomalies import by_attention, by_norm, filled
from ovbench.adapters.parts.published import eight
from ovbench.adapters.parts.self_calibration import SelfCalibration, SelfCalibrationSettings
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import FACTOR, MANY, setting
from ovbench.models.clip.trunk import Heads


@dataclass(frozen=True)
class SFPSettings(SelfCalibrationSettings):
    """Settings of :class:`SFP`."""

    outliers: Literal["attention", "norm", "density"] = setting(
        "attention",
        "released code, configs/base_config.py: pm='SOM'; norm is its L2, density its LOF",
        "what tells an outlier: the class token's attention, a token's length, its distances",
    )
    most_outliers: int = setting(
        10,
        "released code, forward",
        "how many patches of a window are outliers by attention or by norm",
        most=MANY,
    )
    class_factor: float = setting(
        1.5,
        "released code, forward: res_cls * res_scale = 0.3 * 5",
        "on the class token's attention before a patch's own is compared with it",
        least=0,
        most=FACTOR,
    )
    every_block: bool = setting(
        False,
        "released code: once; paper, abstract: at each layer, by its own attention in our reading",
        "fill the outliers of what leaves every block, not only of the last but one",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.most_outliers < 0:
            raise ValueError("most_outliers must not be negative")


class SFP(SelfCalibration):
    """A third of the last attention each: an earlier block's graph, its keys, its queries."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="SFP: outliers of CLIP's attention purified before its last block",
        kind="training-free",
        paper="Jin et al., ICCV",
        year=2025,
        backbones=("CLIP",),
        weights=("clip/ViT-B-16 openai",),
        code_licence="mit",
    )
    Settings = SFPSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # The code's other two signs of an outlier.
        "norm": {"outliers": "norm"},
        "density": {"outliers": "density"},
        # The paper's abstract, as far as it goes.
        "every_block": {"every_block": True},
    }
    published: ClassVar[Sequence[Published]] = eight(
        names="sfp",
        source="released code, SFP_ICCV/configs/",
        voc21={"logit_scale": 50.0, "background_threshold": 0.15, "area_share": 0.1},
        context60={"background_threshold": 0.15},
        cocoobject={"logit_scale": 55.0, "background_threshold": 0.35},
        voc20={},
        context59={},
        cocostuff={},
        ade20k={"short_side": 384},
        cityscapes={"short_side": 560},
    )
    settings: SFPSettings

    def __init__(self, settings: SFPSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        if settings.outliers == "attention":
            self.attentions = (self.clip.layers - 2,)
        if settings.every_block:
            self.mending = self._mended

    def anomalous(self, tokens: Tensor, weights: Tensor | None) -> Tensor:
        """See :class:`~ovbench.adapters.parts.self_calibration.SelfCalibration`."""
        settings = self.settings
        if settings.outliers == "attention":
            assert weights is not None  # they were asked for
            return by_attention(weights, factor=settings.class_factor, most=settings.most_outliers)
        if settings.outliers == "norm":
            return by_norm(tokens[:, 1:], most=settings.most_outliers)
        return super().anomalous(tokens, weights)

    def _mended(self, tokens: Tensor, weights: Tensor, grid: tuple[int, int]) -> Tensor:
        sound = filled(tokens[:, 1:], self.anomalous(tokens, weights), grid)
        return torch.cat([tokens[:, :1], sound], dim=1)

    def attention(self, heads: Heads, cosines: Tensor) -> Tensor:
        """See :class:`~ovbench.adapters.parts.self_calibration.SelfCalibration`."""
        query, key, value, _ = heads
        own = scaled_dot_product_attention(key, key, value)
        own = own + scaled_dot_product_attention(query, query, value)
        return (self.attention_of_levels(heads, cosines) + own) / 3

    def attention_of_levels(self, heads: Heads, cosines: Tensor) -> Tensor:
        """The graph alone, its small cosines 0 before their mean is taken."""
        alike = centred_softmax(self.strong(cosines), beta=1.0, gamma=self.settings.sharpness)
        return alike.to(heads.value.dtype) @ heads.value
