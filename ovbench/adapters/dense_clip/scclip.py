"""SC-CLIP: what CLIP's earlier blocks know mends the patches that its last block is given.

Bai et al., "Self-Calibrated CLIP for Training-Free Open-Vocabulary Segmentation", IEEE TIP 2025;
released code: github.com/SuleBai/SC-CLIP.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ovbench.adapters.parts.affinity import centred_softmax
from ovbench.adapters.parts.published import eight
from ovbench.adapters.parts.self_calibration import SelfCalibration, SelfCalibrationSettings
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.models.clip.trunk import Heads


class SCCLIP(SelfCalibration):
    """Half of the last attention goes by an earlier block's cosines, half by its own keys."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="SC-CLIP: outliers resolved and blocks aggregated before CLIP's last attention",
        kind="training-free",
        paper="Bai et al., TIP",
        year=2025,
        backbones=("CLIP",),
        weights=("clip/ViT-B-16 openai",),
        code_licence="none stated",
    )
    Settings = SelfCalibrationSettings
    published: ClassVar[Sequence[Published]] = eight(
        names="sclip",
        source="released code, configs/",
        voc21={"logit_scale": 50.0, "background_threshold": 0.15, "area_share": 0.1},
        context60={"background_threshold": 0.15},
        cocoobject={"logit_scale": 55.0, "background_threshold": 0.35},
        voc20={},
        context59={},
        cocostuff={},
        ade20k={},
        cityscapes={"short_side": 560},
    )

    def attention(self, heads: Heads, cosines: Tensor) -> Tensor:
        """See :class:`~ovbench.adapters.parts.self_calibration.SelfCalibration`."""
        key, value = heads.key, heads.value
        alike = centred_softmax(cosines, beta=1.0, gamma=self.settings.sharpness)
        own = scaled_dot_product_attention(key, key, value)
        return (alike.to(value.dtype) @ value + own) / 2
