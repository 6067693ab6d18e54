"""RADIO: patch features in its own space, in SigLIP 2's and in SAM's.

Heinrich et al., "RADIOv2.5: Improved Baselines for Agglomerative Vision Foundation Models" (CVPR
2025), whose third versions are released as C-RADIOv3; code: github.com/NVlabs/RADIO.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.precision import DTYPES, frozen
from ovbench.models.radio.file import Released, Teachers, read_radio
from ovbench.models.radio.folder import read_folder
from ovbench.models.radio.heads import Head
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.untrained import seeded, untrained

ROLE = "radio"
TEXT, SAM = "text", "sam"
"""The heads: what SigLIP 2 says of a whole picture, and what SAM's encoder says of places."""
TEACHERS: Teachers = {
    TEXT: ("siglip2", "_heads"),  # which RADSeg gives patches, though it was taught summaries
    SAM: ("sam", "_feature_projections"),
}

Mixing = Callable[[Any, Tensor], Tensor]
"""In place of the last block's attention: from its module and its normalised tokens
``(B, n, width)`` to what is added to them."""


class Radio:
    """A frozen RADIO with two of its heads.

    The transformer computes in the runtime's precision, the heads in float32.

    Attributes:
        mean, std: per channel, of pixels scaled to 0..1.
        patch_size: pixels along a side of a patch.
        width: of its features.
        checkpoints: which weights these are.
    """

    def __init__(
        self, released: Released, checkpoints: tuple[CheckpointRecord, ...], runtime: Runtime
    ) -> None:
        """Take networks, which are frozen and moved in place."""
        released = frozen(released, runtime.device)
        self._trunk, self._norm = released.trunk, released.norm
        self._heads: Any = released.heads
        self._dtype = DTYPES[runtime.precision]
        conditioner, config = self._trunk.input_conditioner, self._trunk.config
        self.mean: list[float] = conditioner.norm_mean.flatten().tolist()
        self.std: list[float] = conditioner.norm_std.flatten().tolist()
        self._trunk.to(self._dtype)
        self._norm.to(self._dtype)
        self.patch_size: int = config.patch_size
        self.width: int = config.hidden_size
        self._skipped: int = config.num_summary_tokens
        self.checkpoints = checkpoints
        self.device = torch.device(runtime.device)

    @torch.inference_mode()
    def features(self, images: Tensor, mixing: Mixing | None = None) -> Tensor:
        """A feature per patch.

        Args:
            images: ``(B, 3, H, W)``, normalised by :attr:`mean` and :attr:`std`; sides are
                multiples of :attr:`patch_size`.
            mixing: in place of the last block's attention.

        Returns:
            ``(B, width, h, w)`` float32, of any length.
        """
        count, _, height, width = images.shape
        hidden = self._trunk.embeddings(images.to(self.device, self._dtype))
        *blocks, last = self._trunk.encoder.layer
        for block in blocks:
            hidden = block(hidden)
        if mixing is None:
            hidden = last(hidden)
        else:
            added = mixing(last.attention, last.norm1(hidden))
            hidden = hidden + last.layer_scale1(added)
            hidden = hidden + last.layer_scale2(last.mlp(last.norm2(hidden)))
        patches: Tensor = self._norm(hidden)[:, self._skipped :].mT
        grid = height // self.patch_size, width // self.patch_size
        return patches.reshape(count, -1, *grid).float()

    def width_of(self, head: str) -> int:
        """Of a teacher's space."""
        width: int = self._heads[head].width
        return width

    @torch.inference_mode()
    def mapped(self, features: Tensor, head: str) -> Tensor:
        """Features ``(B, width, h, w)`` in a teacher's space, ``(B, d, h, w)`` float32."""
        found: Tensor = self._heads[head](features.movedim(1, -1)).movedim(-1, 1)
        return found


def load_radio(name: str, joint: int | None, runtime: Runtime) -> Radio:
    """Load a RADIO.

    Args:
        name: in the catalogue, such as ``"c_radio_v3_b"``, or ``"random"`` for seeded random
            weights of its size, which serve to measure speed.
        joint: width of the space of texts, which random weights are made for; None where no head
            is asked for.

    Raises:
        UsageError: weights that cannot be had or read.
    """
    if untrained(name, runtime):
        record = CheckpointRecord(ROLE, "C-RADIOv3-B, random weights", None, None)
        with seeded(runtime):
            return Radio(_random(joint), (record,), runtime)
    located = locate(ROLE, name, runtime)
    teachers, path = {} if joint is None else TEACHERS, located.path
    released = read_folder(path, teachers) if path.is_dir() else read_radio(path, teachers)
    return Radio(released, located.records, runtime)


def _random(joint: int | None) -> Released:
    from transformers import RadioConfig, RadioModel

    config = RadioConfig(hidden_size=768, num_hidden_layers=12, num_attention_heads=12)
    # Hidden widths are ours; SAM's ViT-H has 1280 channels before its neck.
    heads = {} if joint is None else {TEXT: Head(768, 1520, joint), SAM: Head(768, 1520, 1280)}
    return Released(RadioModel(config), nn.Identity(), heads)
