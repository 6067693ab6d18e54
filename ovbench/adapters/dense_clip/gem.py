"""GEM: a second stream beside CLIP's last blocks, in which every facet looks at itself.

Bousselham, Petersen, Ferrari and Kuehne, "Grounding Everything: Emerging Localization Properties
in Vision-Language Transformers", CVPR 2024; released code: github.com/WalBouss/GEM. Unless told
otherwise it is run as ClearCLIP runs it, since its own protocol is another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize, scaled_dot_product_attention

from ovbench.adapters.dense_clip.clearclip import CLEARCLIP_SIZES, ClearCLIPProtocol
from ovbench.adapters.parts.dense_clip import DenseCLIP, refuse_first_block
from ovbench.adapters.parts.published import eight
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import MANY, setting
from ovbench.models.clip.last_block import leave
from ovbench.models.clip.trunk import Trunk
from ovbench.models.patches.positions import Positions

LAST_BLOCKS = 6


@dataclass(frozen=True)
class GEMSettings(ClearCLIPProtocol):
    """Settings of :class:`GEM`."""

    last_blocks: int | None = setting(
        None,
        "released code, gem.py: gem_depth=7 changes the last six, in every CLIP",
        "how many last blocks the second stream passes; none is 6, or all but the first of fewer",
        least=1,
        most=MANY,
    )
    residual: bool = setting(
        True,
        "released code, gem_utils.py; ClearCLIP's copy (ignore_residual) leaves it out",
        "the second stream adds up; without, only what the last block finds is left",
    )
    min_max: bool = setting(
        False,
        "released code, gem_wrapper.py, has it; ClearCLIP's runs do not",
        "stretch every text's scores in every window to 0..1",
    )
    positions: Positions = setting(
        "antialias",
        "released code, resample_abs_pos_embed",
        "how position embeddings come to another grid of patches",
    )


class GEM(DenseCLIP):
    """CLIP's own stream goes on unchanged and feeds a second one."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="GEM: self-self attention of every facet beside CLIP's last blocks",
        kind="training-free",
        paper="Bousselham et al., CVPR",
        year=2024,
        backbones=("CLIP",),
        weights=("clip/ViT-B-16 openai",),
        code_licence="mit",
    )
    Settings = GEMSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # What its released wrapper and image transform do (gem.py, gem_wrapper.py).
        "own_protocol": {
            "resizing": "squashed",
            "short_side": 448,
            "window": 0,
            "prompts": "single",
            "min_max": True,
        },
        # ClearCLIP's row "GEM without residual".
        "no_residual": {"residual": False},
    }
    published: ClassVar[Sequence[Published]] = eight(
        names="clearclip",
        source="ClearCLIP, appendix, table 2; its released code, configs/ with model_type='GEM'",
        voc21=None,
        context60=None,
        cocoobject=None,
        voc20={},
        context59={},
        cocostuff={},
        ade20k={},
        cityscapes={"window": 224, "window_stride": 224},
    )
    SIZES = CLEARCLIP_SIZES
    settings: GEMSettings

    def __init__(self, settings: GEMSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        refuse_first_block(self.clip, settings.last_blocks)
        blocks = settings.last_blocks or min(LAST_BLOCKS, self.clip.layers - 1)
        self._layers = range(-blocks if settings.residual else -1, 0)

    def features(self, windows: Tensor) -> Tensor:
        """See :class:`~ovbench.adapters.parts.dense_clip.DenseCLIP`."""
        before = [layer - 1 for layer in self._layers]
        trunk = self.clip.trunk(windows, positions=self.settings.positions, states=before)
        blocks = [trunk.at(layer) for layer in self._layers]
        stream = sum((self_self(block) for block in blocks), torch.zeros_like(trunk.tokens))
        if self.settings.residual:
            stream = stream + blocks[0].tokens
        return leave(trunk, stream, residual=False, mlp=False)[0]

    def cosines(self, windows: Tensor) -> Tensor:
        """See :class:`~ovbench.adapters.parts.dense_clip.DenseCLIP`."""
        found = super().cosines(windows)
        if not self.settings.min_max:
            return found
        least, most = found.amin((2, 3), keepdim=True), found.amax((2, 3), keepdim=True)
        return (found - least) / (most - least).clamp_min(torch.finfo(found.dtype).tiny)


def self_self(block: Trunk) -> Tensor:
    """What a block finds when values, keys and queries each look at themselves, twice.

    Each facet is first replaced by what it finds in itself; where it then looks, values are taken
    from. The temperature follows the length of the tokens that enter the attention.

    Returns:
        ``(B, n, width)``, out of the attention's output layer: the mean of the three.
    """
    query, key, value, _ = block.heads()
    lengths = block.block.ln_1(block.tokens).norm(dim=-1).mean(dim=-1)
    sharpness = (lengths * query.shape[-1] ** -0.5)[:, None, None, None]
    unit = normalize(torch.cat([value, key, query], dim=1), dim=-1)
    unit = normalize(_look(unit, unit, sharpness), dim=-1)
    found = _look(unit, value.repeat(1, 3, 1, 1), sharpness)
    return block.mixed(torch.stack(found.chunk(3, dim=1)).mean(dim=0))


def _look(unit: Tensor, value: Tensor, sharpness: Tensor) -> Tensor:
    return scaled_dot_product_attention(unit * sharpness, unit, value, scale=1.0)
