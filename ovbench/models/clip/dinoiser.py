"""CLIP-DINOiser's two convolutions: what DINO and FOUND say, learned on CLIP's patches.

Wysoczańska et al., "CLIP-DINOiser: Teaching CLIP a Few DINO Tricks for Open-Vocabulary Semantic
Segmentation" (ECCV 2024); released code: github.com/wysoczanska/clip_dinoiser,
models/clip_dinoiser/clip_dinoiser.py.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.precision import frozen
from ovbench.models.weights.authors import fitted, weights_in
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.untrained import seeded, untrained

ROLE = "clip_dinoiser"
_CHANNELS = 256
_KERNEL = 3


class DinoiserNetwork(nn.Module):
    """Both, by the authors' names.

    Args:
        width: of CLIP's image tower.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bkg_decoder = nn.Conv2d(width, 1, 1)
        self.obj_proj = nn.Conv2d(
            width, _CHANNELS, _KERNEL, padding=_KERNEL // 2, padding_mode="replicate"
        )


class Dinoiser:
    """Frozen heads, in float32.

    Attributes:
        checkpoints: which weights these are.
    """

    def __init__(
        self, network: DinoiserNetwork, checkpoints: tuple[CheckpointRecord, ...], runtime: Runtime
    ) -> None:
        """Take a network, which is frozen and moved in place."""
        self._network = frozen(network, runtime.device)
        self.checkpoints = checkpoints

    @torch.inference_mode()
    def alike(self, patches: Tensor) -> Tensor:
        """Features whose cosines say which patches are of one object.

        Args:
            patches: ``(B, width, h, w)`` float32, as they enter the MLP of the third last block.

        Returns:
            ``(B, 256, h, w)``, not normalised.
        """
        found: Tensor = self._network.obj_proj(patches)
        return found

    @torch.inference_mode()
    def foreground(self, patches: Tensor) -> Tensor:
        """How probably each of these patches is an object's, ``(B, h, w)``."""
        found: Tensor = self._network.bkg_decoder(normalize(patches, dim=1))
        return found[:, 0].sigmoid()


def load_dinoiser(name: str, width: int, runtime: Runtime) -> Dinoiser:
    """Load the heads.

    Args:
        name: in the catalogue, such as ``"clip_dinoiser_vitb16"``, or ``"random"`` for seeded
            random weights, which serve to measure speed.
        width: of CLIP's image tower.

    Raises:
        UsageError: weights that cannot be had, or are for another tower.
    """
    if untrained(name, runtime):
        record = CheckpointRecord(ROLE, "CLIP-DINOiser's heads, random weights", None, None)
        with seeded(runtime):
            return Dinoiser(DinoiserNetwork(width), (record,), runtime)
    located = locate(ROLE, name, runtime)
    return Dinoiser(read_dinoiser(located.path, width), located.records, runtime)


def read_dinoiser(path: Path, width: int) -> DinoiserNetwork:
    """The heads of the authors' file, which may hold CLIP, too.

    Raises:
        UsageError: a file that is damaged, has no such heads, or heads for another tower.
    """
    weights = weights_in(path, "model_state_dict")
    own = {name: one for name, one in weights.items() if name.startswith(("bkg_", "obj_"))}
    first = own.get("bkg_decoder.weight")
    if first is not None and first.shape[1] != width:
        raise UsageError(
            f"{path}: is for a CLIP of {first.shape[1]} channels, and this one has {width}"
        )
    return fitted(DinoiserNetwork(width), own, path)
