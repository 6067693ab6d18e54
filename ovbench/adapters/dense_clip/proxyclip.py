"""ProxyCLIP: in CLIP's last block, patches look at those that another model finds alike.

Lan et al., "ProxyCLIP: Proxy Attention Improves CLIP for Open-Vocabulary Segmentation",
ECCV 2024; released code: github.com/mc-lan/ProxyCLIP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.parts.affinity import centred_softmax, cosine_graph
from ovbench.adapters.parts.dense_clip import DenseCLIP, DenseCLIPSettings
from ovbench.adapters.parts.published import eight
from ovbench.adapters.parts.vfm import WEIGHTS, VFMReading, load_vfm
from ovbench.errors import UsageError
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import FACTOR, SIDE, setting
from ovbench.models.clip.trunk import Trunk, on_grid

PAIRS = 2**25
"""Of patches, compared at a time: 10 windows of 42x42 patches or 2 of SAM's 64x64, and 128 MiB for
each of the three matrices that are alive at once."""


@dataclass(frozen=True)
class ProxySettings(DenseCLIPSettings):
    """Settings of an attention by another model's features."""

    vfm: str = setting(
        "dino_vitb8",
        "paper and released code: DINO ViT-B/8",
        "the model that says which patches are alike: as in the catalogue, a hub id, or random",
        picks=WEIGHTS,
    )
    vfm_reading: VFMReading = setting(
        "tokens",
        "released code: normalised tokens of the last block; query_key: CorrCLIP's, our choice",
        "what is compared: tokens, or the sum of queries and keys",
    )
    beta: float = setting(
        1.2,
        "released code, beta; paper: 1.0 to 1.6 are good",
        "patches less alike than this many times the mean are left out",
        least=0,
        most=FACTOR,
    )
    gamma: float = setting(
        3.0, "released code, gamma; paper: 2 to 5 are good", "factor before the softmax",
        most=FACTOR,
    )  # fmt: skip
    window: int | None = setting(
        None,
        "released code, slide_crop: 336 for CLIPs trained on 224 pixels",
        "side of windows in pixels; none is 1.5 times the CLIP's training size, 0 the whole image",
        most=SIDE,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gamma <= 0:
            raise ValueError("gamma must be positive")


@dataclass(frozen=True)
class ProxyCLIPSettings(ProxySettings):
    """Settings of :class:`ProxyCLIP`."""

    window_multiple: int = setting(
        56,
        "released code, compute_padsize: whole patches of 8 and 14 pixels",
        "windows are given zeros up to a multiple of this",
        most=SIDE,
    )


class ProxyCLIP(DenseCLIP):
    """Only what the last attention finds is kept, on the other model's grid."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="ProxyCLIP: attention by another model's features",
        kind="training-free",
        paper="Lan et al., ECCV",
        year=2024,
        backbones=("CLIP", "DINO"),
        weights=("clip/ViT-B-16 openai", "dino/dino_vitb8"),
        code_licence="S-Lab 1.0",
    )
    Settings = ProxyCLIPSettings
    published: ClassVar[Sequence[Published]] = eight(
        names="proxyclip",
        source="released code, configs/",
        voc21={"background_threshold": 0.2},
        context60={"background_threshold": 0.15},
        cocoobject={"background_threshold": 0.25},
        voc20={},
        context59={},
        cocostuff={},
        ade20k={"short_side": 448},
        cityscapes={"short_side": 448, "window": 224},
    )
    SIZES: ClassVar[Mapping[str, float]] = {**DenseCLIP.SIZES, "window": 1.5}
    settings: ProxyCLIPSettings

    def __init__(self, settings: ProxyCLIPSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        clip, name, reading = self.clip, settings.vfm, settings.vfm_reading
        self.vfm = load_vfm(name, runtime, reading, mean=clip.mean, std=clip.std)
        self.checkpoints += self.vfm.checkpoints
        if settings.window_multiple < self.vfm.patch_size:
            raise UsageError(
                f"window_multiple={settings.window_multiple}: {name} has patches of "
                f"{self.vfm.patch_size} pixels, and every window must hold one"
            )

    def features(self, windows: Tensor) -> Tensor:
        """See :class:`~ovbench.adapters.parts.dense_clip.DenseCLIP`; on the other model's grid."""
        trunk = self.clip.trunk(windows, positions=self.settings.positions)
        return self.proxied(trunk, self.vfm.features(windows))

    def proxied(self, trunk: Trunk, seen: Tensor) -> Tensor:
        """CLIP's values, brought to the grid of other features and mixed by their likeness.

        Args:
            seen: ``(B, C, h', w')``, the other model's.

        Returns:
            ``(B, d, h', w')`` float32 in CLIP's joint space, not normalised.
        """
        found = proxied(trunk, seen, beta=self.settings.beta, gamma=self.settings.gamma)
        return on_grid(trunk.joint(found), (seen.shape[-2], seen.shape[-1]))


def proxied(
    trunk: Trunk, seen: Tensor, *, beta: float, gamma: float, mean: Tensor | None = None
) -> Tensor:
    """CLIP's values on the grid of other features, mixed by their likeness, the same in all heads.

    Args:
        seen: ``(B, C, h', w')``, the other model's.
        beta, gamma, mean: see :func:`~ovbench.adapters.parts.affinity.centred_softmax`.

    Returns:
        ``(B, h' * w', width)``, out of the attention's output layer.
    """
    grid = seen.shape[-2], seen.shape[-1]
    values = trunk.heads().value[:, :, 1:].transpose(1, 2).flatten(2)  # no head looks elsewhere
    values = functional.interpolate(on_grid(values, trunk.grid), grid, mode="bilinear")
    several = max(1, PAIRS // (grid[0] * grid[1]) ** 2)
    rows = values.flatten(2).mT
    parts = zip(torch.split(seen, several), torch.split(rows, several), strict=True)
    found = []
    for part, value in parts:
        weights = centred_softmax(cosine_graph(part), beta=beta, gamma=gamma, mean=mean)
        found.append(weights.to(value.dtype) @ value)
    return trunk.mixed(torch.cat(found)[:, None])
