"""MaskCLIP's values in the dense-CLIP family, which later methods start from.

Zhou, Loy and Dai, "Extract Free Dense Labels from CLIP" (ECCV 2022): the last attention is left
out. CLIP-DINOiser (ECCV 2024) reads them from the CLIP of LAION-2B and keeps the last block's
residual and MLP; LPOSS (CVPR 2025) and FLOSS (ICCV 2025) took its code over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ovbench.adapters.parts.dense_clip import DenseCLIP, DenseCLIPSettings
from ovbench.harness.contract.settings import FACTOR, SIDE, setting
from ovbench.models.clip.last_block import values_alone
from ovbench.models.patches.positions import Positions


@dataclass(frozen=True)
class ValuePathSettings(DenseCLIPSettings):
    """Settings of :class:`ValuePath`."""

    pretrained: str = setting(
        "laion2b_s34b_b88k",
        "released codes, configs/maskclip.yaml",
        "open_clip's tag of its weights, tag@revision, or random",
        picks="clip/{architecture} {pretrained}",
    )
    short_side: int | None = setting(
        None,
        "released codes: 448, for CLIPs trained on 224 pixels",
        "shorter side of the input in pixels; none is twice the CLIP's training size",
        most=SIDE,
    )
    positions: Positions = setting(
        "exact",
        "released codes, resize_pos_embed",
        "how position embeddings come to another grid of patches",
    )


@dataclass(frozen=True)
class WideValuePathSettings(ValuePathSettings):
    """In windows of twice the training size, as CLIP-DINOiser and FLOSS have them."""

    window: int | None = setting(
        None,
        "released codes, test_cfg crop_size=(448, 448)",
        "side of windows in pixels; none is twice the CLIP's training size, 0 the whole image",
        most=SIDE,
    )
    window_stride: int | None = setting(
        None,
        "released codes, test_cfg stride=(224, 224)",
        "pixels between windows; none is the CLIP's training size",
        most=SIDE,
    )
    logit_scale: float = setting(
        100.0, "released codes, maskclip.py, cls_seg", "factor on cosines before the softmax",
        most=FACTOR,
    )  # fmt: skip


WIDE: Mapping[str, float] = {"short_side": 2, "window": 2, "window_stride": 1}
"""Sizes of :class:`WideValuePathSettings`, as multiples of the training size."""


class ValuePath(DenseCLIP):
    """The values of the last block, with its residual and MLP."""

    SIZES: ClassVar[Mapping[str, float]] = {**DenseCLIP.SIZES, "short_side": 2}
    settings: ValuePathSettings

    def features(self, windows: Tensor) -> Tensor:
        """See :class:`~ovbench.adapters.parts.dense_clip.DenseCLIP`."""
        positions = self.settings.positions
        found, _ = self.clip.attended_features(windows, values_alone, positions=positions)
        return found
