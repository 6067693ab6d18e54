"""ResCLIP: CLIP's last block looks as earlier blocks do, and again at what it was told to be alike.

Yang et al., "ResCLIP: Residual Attention for Training-Free Dense Vision-Language Inference", CVPR
2025; released code: github.com/yvhangyang/ResCLIP. It stands on NACLIP's attention.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.dense_clip.naclip import NACLIPSettings
from ovbench.adapters.parts.affinity import gaussian_neighbourhood, label_affinity
from ovbench.adapters.parts.dense_clip import DenseCLIP
from ovbench.adapters.parts.depth import check_blocks, early_blocks
from ovbench.adapters.parts.published import eight
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import FACTOR, MANY, SIDE, require_shares, setting
from ovbench.models.clip.last_block import leave
from ovbench.models.clip.trunk import Trunk
from ovbench.models.pixels.labels import decide
from ovbench.models.pixels.scores import Scores

_TUNED = "released code, configs/: tuned per set, here Context59's"


@dataclass(frozen=True)
class ResCLIPSettings(NACLIPSettings):
    """Settings of :class:`ResCLIP`."""

    blocks: tuple[int, ...] = setting(
        (5, 6, 7, 8),
        "paper, section 3.2; released code: blocks 6 to 9, counted from 1",
        "whose attention the last one is mixed with (RCS); of a ViT-B's blocks, from 0; the same "
        "share of the depth in others",
    )
    rcs_weight: float = setting(0.4, _TUNED, "share of the earlier blocks' attention")
    rcs_scale: float = setting(
        2.0, "released code, configs/", "factor on the mixed attention", least=0, most=FACTOR
    )
    sfr: bool = setting(
        True,
        "paper, section 3.3",
        "look a second time, where patches answered alike the first time (SFR)",
    )
    sfr_weight: float = setting(0.7, _TUNED, "share of equal answers in the second attention")
    sfr_scale: float = setting(
        1.8, _TUNED, "factor on its logits, before the neighbourhood's", least=0, most=FACTOR
    )
    sfr_threshold: float = setting(
        0.25, _TUNED, "pixels of a lower probability answer with the first query"
    )
    sfr_iterations: int = setting(
        10, "released code", "of PAMR on the first answer, window by window", most=MANY
    )
    sfr_blur: float = setting(
        5.0, "released code, generate_attention_sfr", "along equal answers, in patches", most=SIDE
    )
    check_path: bool = setting(
        True,
        "released code, delete_same_entity",
        "equal answers count less, by their distance, where another one lies between them",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_blocks("blocks", self.blocks)
        if not self.blocks:
            raise ValueError("blocks must name one at least")
        if self.sfr_blur <= 0 or self.sfr_iterations < 0:
            raise ValueError("sfr_blur must be positive and sfr_iterations not negative")
        require_shares(self, "rcs_weight", "sfr_weight", "sfr_threshold")
        if self.sfr_iterations and not self.pamr_dilations:
            raise ValueError("sfr_iterations needs pamr_dilations")


class ResCLIP(DenseCLIP):
    """Only what the last attention finds is kept."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="ResCLIP: earlier blocks' attention and its own answer in CLIP's last block",
        kind="training-free",
        paper="Yang et al., CVPR",
        year=2025,
        backbones=("CLIP",),
        weights=("clip/ViT-B-16 openai",),
        code_licence="none stated",
    )
    Settings = ResCLIPSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # The first of the paper's two parts alone.
        "rcs": {"sfr": False},
    }
    published: ClassVar[Sequence[Published]] = eight(
        names="sclip",
        source="released code, configs/",
        voc21={"window": 0, "background_threshold": 0.1, "sfr_threshold": 0.5,
               "rcs_weight": 0.3, "sfr_scale": 2.2},
        context60={"background_threshold": 0.1, "sfr_threshold": 0.3, "rcs_weight": 0.3},
        cocoobject={"background_threshold": 0.1, "sfr_threshold": 0.11},
        voc20={"window": 0, "sfr_threshold": 0.1, "rcs_weight": 0.6, "sfr_scale": 2.1,
               "sfr_weight": 0.6},
        context59={},
        cocostuff={"sfr_threshold": 0.11},
        ade20k={"rcs_weight": 0.3, "sfr_scale": 2.1},
        cityscapes={"short_side": 560, "sfr_threshold": 0.1, "rcs_weight": 0.2,
                    "sfr_scale": 2.1, "sfr_weight": 0.6},
    )  # fmt: skip
    settings: ResCLIPSettings

    def __init__(self, settings: ResCLIPSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        self._blocks = early_blocks(self.clip, settings.blocks)

    def features(self, windows: Tensor) -> Tensor:
        """See :class:`~ovbench.adapters.parts.dense_clip.DenseCLIP`."""
        settings = self.settings
        positions, blocks = settings.positions, self._blocks
        trunk = self.clip.trunk(windows, positions=positions, attentions=blocks)
        earlier = torch.stack([trunk.attentions[block] for block in blocks]).mean(dim=0)
        near = gaussian_neighbourhood(trunk.grid, settings.sigma).to(windows.device)[None]
        found = self._look(trunk, earlier, near, 1.0)
        if not settings.sfr:
            return found
        alike = label_affinity(
            self.answers(windows, found),
            trunk.grid,
            sigma=settings.sfr_blur,
            check_path=settings.check_path,
        )
        alike = alike / alike.amax(dim=(1, 2), keepdim=True)
        scale, weight = settings.sfr_scale, settings.sfr_weight
        return self._look(trunk, earlier, near + scale * weight * alike, scale * (1 - weight))

    def answers(self, windows: Tensor, features: Tensor) -> Tensor:
        """The query of every patch: of its pixels' ones, the most frequent, ``(B, h * w)``."""
        settings, (height, width) = self.settings, features.shape[2:]
        cosines = self.compared(features)
        queries = np.arange(len(self.text))
        answers = []
        for window, maps in zip(windows, cosines, strict=True):
            scores = Scores.enlarged(maps, (window.shape[1], window.shape[2]))
            labels = decide(
                self.refined(scores, window, settings.sfr_iterations),
                queries,
                dtype=np.dtype(np.uint32),
                softmax_scale=settings.logit_scale,
                background_below=settings.sfr_threshold,
            )
            answers.append(most_frequent(labels, (height, width), self.clip.stride))
        return torch.from_numpy(np.stack(answers)).to(features.device)

    def _look(self, trunk: Trunk, earlier: Tensor, added: Tensor, sharpness: float) -> Tensor:
        """Out of the last block, its keys looking at keys, with ``(B, n, n)`` added to that.

        Patches alone are added to; the class token has no place.
        """
        _, key, value, _ = trunk.heads()
        looked = functional.scaled_dot_product_attention(
            key,
            key,
            value,
            attn_mask=functional.pad(added, (1, 0, 1, 0))[:, None].to(key.dtype),
            scale=sharpness * key.shape[-1] ** -0.5,
        )
        share = self.settings.rcs_weight
        mixed = self.settings.rcs_scale * ((1 - share) * looked + share * (earlier @ value))
        return leave(trunk, trunk.mixed(mixed), residual=False, mlp=False)[0]


def most_frequent(labels: LabelMap, grid: tuple[int, int], patch: int) -> npt.NDArray[np.int64]:
    """Of every patch's pixels the most frequent label, the smallest of equals, ``(h * w,)``.

    Args:
        labels: ``(H, W)``; what a side has over a multiple of the patch is not looked at.
        grid: rows and columns of patches, ``(h, w)``.
        patch: its side in pixels.
    """
    height, width = grid
    inside = labels[: height * patch, : width * patch]
    patches = inside.reshape(height, patch, width, patch).swapaxes(1, 2).reshape(-1, patch**2)
    present, index = np.unique(patches, return_inverse=True)
    numbers = np.arange(len(patches))[:, None] * len(present) + index.reshape(patches.shape)
    counts = np.bincount(numbers.ravel(), minlength=len(patches) * len(present))
    most = counts.reshape(len(patches), -1).argmax(axis=1)
    answer: npt.NDArray[np.int64] = present[most].astype(np.int64)
    return answer
