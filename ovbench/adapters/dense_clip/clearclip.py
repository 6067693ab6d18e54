"""ClearCLIP: CLIP's last block without its residual and its MLP, queries looking at queries.

Lan et al., "ClearCLIP: Decomposing CLIP Representations for Dense Vision-Language Inference",
ECCV 2024; released code: github.com/mc-lan/ClearCLIP. The variants it compares with are settings,
plain CLIP among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ovbench.adapters.dense_clip.sclip import correlative
from ovbench.adapters.parts.dense_clip import DenseCLIP, DenseCLIPSettings, refuse_first_block
from ovbench.adapters.parts.published import eight
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import FACTOR, MANY, SIDE, setting
from ovbench.models.clip.last_block import Attention, leave, own_attention, values_alone
from ovbench.models.clip.trunk import Heads

Looks: TypeAlias = Literal["query", "own", "sclip", "value"]

CLEARCLIP_SIZES: Mapping[str, float] = {"short_side": 2, "window": 2, "window_stride": 1}
"""Of the training size, where :class:`ClearCLIPProtocol` names no pixels."""


@dataclass(frozen=True)
class ClearCLIPProtocol(DenseCLIPSettings):
    """How ClearCLIP evaluates every method, itself and GEM among them."""

    short_side: int | None = setting(
        None,
        "released code, configs/: 448 for CLIPs trained on 224 pixels",
        "shorter side of the input in pixels; none is twice the CLIP's training size",
        most=SIDE,
    )
    window: int | None = setting(
        None,
        "released code, configs/: 448",
        "side of windows in pixels; none is twice the CLIP's training size, 0 the whole image",
        most=SIDE,
    )
    window_stride: int | None = setting(
        None,
        "released code, configs/: 224",
        "pixels between windows; none is the CLIP's training size",
        most=SIDE,
    )
    window_multiple: int = setting(
        16,
        "released code, compute_padsize: the patch",
        "windows are given zeros up to a multiple of this",
        most=SIDE,
    )
    logit_scale: float = setting(
        50.0, "released code, logit_scale", "factor on cosines before the softmax over queries",
        most=FACTOR,
    )  # fmt: skip


@dataclass(frozen=True)
class ClearCLIPSettings(ClearCLIPProtocol):
    """Settings of :class:`ClearCLIP`."""

    attention: Looks = setting(
        "query",
        "paper, section 3.3: queries look at queries; its tables: own is CLIP's, sclip is SCLIP's, "
        "value is MaskCLIP's. The released base configuration has own (model_type='vanilla')",
        "which patches look at which in the last block",
    )
    residual: bool = setting(
        False, "paper, section 3.2: left out", "add what enters the last block to what it finds"
    )
    mlp: bool = setting(False, "paper, section 3.3: left out", "let the last block's MLP follow")
    last_blocks: int = setting(
        1,
        "released code, last_n_layers",
        "how many last blocks find something, each from CLIP's own stream; it is added up",
        least=1,
        most=MANY,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.last_blocks > 1 and (self.residual or self.mlp):
            raise ValueError("last_blocks goes without residual and mlp")


class ClearCLIP(DenseCLIP):
    """Only what the last attention finds is kept."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="ClearCLIP: self-self attention without residual and MLP",
        kind="training-free",
        paper="Lan et al., ECCV",
        year=2024,
        backbones=("CLIP",),
        weights=("clip/ViT-B-16 openai",),
        code_licence="S-Lab 1.0",
    )
    Settings = ClearCLIPSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # CLIP as it was trained, read at every patch: the floor of the family's tables.
        "clip": {"attention": "own", "residual": True, "mlp": True},
        # What the released base configuration runs.
        "as_configured": {"attention": "own"},
    }
    published: ClassVar[Sequence[Published]] = eight(
        names="clearclip",
        source="released code, configs/",
        voc21={"background_threshold": 0.5},
        context60={"background_threshold": 0.15},
        cocoobject={"background_threshold": 0.4},
        voc20={},
        context59={},
        cocostuff={},
        ade20k={},
        cityscapes={"window": 224, "window_stride": 224},
    )
    SIZES = CLEARCLIP_SIZES
    settings: ClearCLIPSettings

    def __init__(self, settings: ClearCLIPSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        refuse_first_block(self.clip, settings.last_blocks)

    def features(self, windows: Tensor) -> Tensor:
        """See :class:`~ovbench.adapters.parts.dense_clip.DenseCLIP`."""
        settings, attention = self.settings, ATTENTIONS[self.settings.attention]
        layers = range(-settings.last_blocks, 0)
        before = [layer - 1 for layer in layers]
        trunk = self.clip.trunk(windows, positions=settings.positions, states=before)
        found = torch.zeros_like(trunk.tokens)
        for block in map(trunk.at, layers):
            found += block.mixed(attention(block.heads()))
        return leave(trunk, found, residual=settings.residual, mlp=settings.mlp)[0]


def queries_alone(heads: Heads) -> Tensor:
    """A softmax over the products of queries with queries."""
    return scaled_dot_product_attention(heads.query, heads.query, heads.value)


ATTENTIONS: Mapping[Looks, Attention] = {
    "query": queries_alone,
    "own": own_attention,
    "sclip": correlative,
    "value": values_alone,
}
