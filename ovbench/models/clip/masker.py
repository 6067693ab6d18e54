"""TCL's masker: what stands beside a frozen CLIP and learned from captions to cut texts out.

Cha, Mun and Roh, "Learning to Generate Text-grounded Mask for Open-world Semantic Segmentation
from Only Image-Text Pairs" (CVPR 2023); released code: github.com/kakaobrain/tcl. A copy of CLIP's
last block, trained further, a decoder that enlarges what leaves it to a quarter of the picture's
sides, and a projection.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.files.regular import regular
from ovbench.models.clip.last_block import values_alone
from ovbench.models.clip.model import CLIP
from ovbench.models.clip.trunk import Trunk, on_grid, with_mlp
from ovbench.models.precision import DTYPES, frozen
from ovbench.models.weights.authors import Renaming, fitted, renamed, weights_in
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.pretrained import reading
from ovbench.models.weights.untrained import seeded, untrained

ROLE = "tcl"
PLACE = 4
"""Pixels along a side of what has a mask of its own, or about so many; patches have 16."""

# In turn, of a tensor's whole name.
_RENAMED: Renaming = (
    (r"^masker\.image_encoder\.backbone\.transformer\.resblocks\.\d+\.", "block."),
    (r"^masker\.image_encoder\.decoder\.decoder\.net\.(\d)\.conv\.", r"decoder.\1.1."),
    (r"^masker\.image_encoder\.decoder\.decoder\.net\.(\d)\.conv2\.", r"decoder.\1.2."),
    (r"\.gate\.gate$", ".gate"),
    (r"^masker\.image_encoder\.decoder\.image_proj\.ln\.", "norm."),
    (r"^masker\.image_encoder\.decoder\.image_proj\.proj$", "proj"),
    (r"^masker\.sim2mask\.w$", "sharpness"),
    (r"^masker\.sim2mask\.b$", "shift"),
)


def own_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' weights by the names of :class:`MaskerNetwork`; what has no place keeps its."""
    found = {}
    for theirs, weight in weights.items():
        found[renamed(theirs, _RENAMED)] = weight
    return found


class GatedConvolution(nn.Module):
    """Adds a convolution of its input, by a gate that training opens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, places: Tensor) -> Tensor:
        """``(B, width, h, w)``, as given."""
        even = self.norm(places.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        added: Tensor = self.gate.tanh() * self.conv(functional.gelu(even))
        return places + added


def _doubling(width: int) -> nn.Module:
    enlarge = nn.Upsample(scale_factor=2, mode="nearest")
    return nn.Sequential(enlarge, GatedConvolution(width), GatedConvolution(width))


class MaskerNetwork(nn.Module):
    """The masker's weights; sizes and the block are those of a CLIP's image tower."""

    def __init__(self, visual: Any) -> None:
        super().__init__()
        width, joint = visual.proj.shape
        stages = max(1, round(math.log2(visual.patch_size[0] / PLACE)))
        self.block = deepcopy(visual.transformer.resblocks[-1])
        self.decoder = nn.Sequential(*(_doubling(width) for _ in range(stages)))
        self.norm = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.randn(width, joint) * width**-0.5)
        self.sharpness = nn.Parameter(torch.tensor(10.0))
        self.shift = nn.Parameter(torch.tensor(-2.5))

    def forward(self, trunk: Trunk) -> Tensor:
        """See :meth:`Masker.embed`."""
        own = replace(trunk, block=self.block)
        tokens = with_mlp(own.block, own.tokens + own.mixed(values_alone(own.heads())))
        places = self.decoder(on_grid(tokens[:, 1:], trunk.grid))
        joint: Tensor = self.norm(places.permute(0, 2, 3, 1)) @ self.proj
        return joint.permute(0, 3, 1, 2)


class Masker:
    """A frozen masker.

    Attributes:
        checkpoints: which weights these are.
    """

    def __init__(
        self, network: MaskerNetwork, checkpoints: tuple[CheckpointRecord, ...], runtime: Runtime
    ) -> None:
        """Take a network, which is frozen and moved in place."""
        # Two numbers that every mask rests on are not rounded.
        self._sharpness, self._shift = network.sharpness.item(), network.shift.item()
        self._network = frozen(network, runtime.device).to(DTYPES[runtime.precision])
        self.checkpoints = checkpoints

    @torch.inference_mode()
    def embed(self, trunk: Trunk) -> Tensor:
        """What enters CLIP's last block, at every place, in CLIP's joint space.

        Returns:
            ``(B, d, f * h, f * w)`` float32, not normalised; f is 4 for patches of 16 pixels.
        """
        embedded: Tensor = self._network(trunk)
        return embedded.float()

    def masks(self, cosines: Tensor) -> Tensor:
        """How probably each place is of each text, every text by itself; as given."""
        return (self._sharpness * cosines + self._shift).sigmoid()


def load_masker(name: str, clip: CLIP, runtime: Runtime) -> Masker:
    """Load a masker.

    Args:
        name: in the catalogue, such as ``"tcl_vitb16"``, or ``"random"`` for seeded random weights,
            which serve to measure speed.
        clip: what it was trained on, or one with a plain vision transformer for random weights.

    Raises:
        UsageError: weights that cannot be had, or do not fit the CLIP.
    """
    if untrained(name, runtime):
        record = CheckpointRecord(ROLE, "masker, random weights", None, None)
        with seeded(runtime):
            return Masker(MaskerNetwork(clip.visual), (record,), runtime)
    located = locate(ROLE, name, runtime)
    return Masker(read_network(located.path, clip), located.records, runtime)


def read_network(path: Path, clip: CLIP) -> MaskerNetwork:
    """A masker for a CLIP, of the authors' file or of a folder with ``model.safetensors``.

    Raises:
        UsageError: a file that is damaged, or weights that do not fit the CLIP.
    """
    if path.is_dir():
        from safetensors.torch import load_file

        with reading(path):
            weights = load_file(regular(path / "model.safetensors"))
    else:
        weights = own_names(weights_in(path, "model"))
    return fitted(MaskerNetwork(clip.visual), weights, path)
