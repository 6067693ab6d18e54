"""NACLIP: in CLIP's last block, keys look at keys and every patch at its neighbours.

Hajimiri, Ben Ayed and Dolz, "Pay Attention to Your Neighbours: Training-Free Open-Vocabulary
Semantic Segmentation", WACV 2025; released code: github.com/sinahmr/NACLIP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from ovbench.adapters.parts.affinity import gaussian_neighbourhood
from ovbench.adapters.parts.dense_clip import DenseCLIP, DenseCLIPSettings
from ovbench.adapters.parts.published import eight
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.settings import SIDE, setting
from ovbench.models.clip.trunk import Heads


@dataclass(frozen=True)
class NACLIPSettings(DenseCLIPSettings):
    """Settings of :class:`NACLIP`."""

    sigma: float = setting(
        5.0,
        "paper, section 3.2; released code, gaussian_std",
        "of the Gaussian over neighbours, in patches",
        most=SIDE,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sigma <= 0:
            raise ValueError("sigma must be positive")


class NACLIP(DenseCLIP):
    """Only what the last attention finds is kept."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="NACLIP: neighbours are attended to in CLIP's last block",
        kind="training-free",
        paper="Hajimiri et al., WACV",
        year=2025,
        backbones=("CLIP",),
        weights=("clip/ViT-B-16 openai",),
        code_licence="mit",
    )
    Settings: ClassVar[type[NACLIPSettings]] = NACLIPSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # How the released code evaluates unless told otherwise (eval.py, --pamr).
        "plus_pamr": {"pamr_iterations": 10},
    }
    published: ClassVar[Sequence[Published]] = eight(
        names="naclip",
        source="released code, configs/",
        voc21={"window": 0, "background_threshold": 0.1},
        context60={"background_threshold": 0.1},
        cocoobject={"background_threshold": 0.1},
        voc20={"window": 0},
        context59={},
        cocostuff={},
        ade20k={},
        cityscapes={"short_side": 560},
    )
    settings: NACLIPSettings

    def features(self, windows: Tensor) -> Tensor:
        """See :class:`~ovbench.adapters.parts.dense_clip.DenseCLIP`."""
        features, _ = self.clip.attended_features(
            windows, self._near, residual=False, mlp=False, positions=self.settings.positions
        )
        return features

    def _near(self, heads: Heads) -> Tensor:
        """The Gaussian is added to the scaled products; the class token has no place."""
        key, value = heads.key, heads.value
        near = gaussian_neighbourhood(heads.grid, self.settings.sigma)
        near = pad(near, (1, 0, 1, 0)).to(key.device, key.dtype)
        return scaled_dot_product_attention(key, key, value, attn_mask=near)
