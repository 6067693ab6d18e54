"""LPOSS: patches of all windows, joined where DINO finds them alike, agree on their scores.

Stojnić et al., "LPOSS: Label Propagation Over Patches and Pixels for Open-vocabulary Semantic
Segmentation", CVPR 2025; released code: github.com/vladan-stojnic/LPOSS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from ovbench.adapters.dense_clip.value_path import ValuePath, ValuePathSettings
from ovbench.adapters.parts.published import eight
from ovbench.adapters.parts.vfm import renormalised, shown
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import FACTOR, MANY, setting
from ovbench.harness.contract.stages import stage
from ovbench.models.patches.encoder import Facet, load_patch_encoder
from ovbench.models.pixels.scores import Scores
from ovbench.models.pixels.windows import Axis, Windows
from ovbench.refine.propagation import patch_graph, pixel_graph, propagate, rgb_to_lab

_CODE = "released code, configs/lposs.yaml"


@dataclass(frozen=True)
class LPOSSSettings(ValuePathSettings):
    """Settings of :class:`LPOSS`."""

    dino: str = setting(
        "dino_vitb16",
        f"{_CODE}, vit_arch, vit_patch_size",
        "the model that says which patches are alike: of the catalogue, a hub id, or random",
        picks="dino/{dino}",
    )
    facet: Facet = setting(
        "value", f"{_CODE}, enc_type_feats", "what of its last attention is compared"
    )
    neighbours: int = setting(
        400, f"{_CODE}, k", "patches of all windows that each is joined to", least=1, most=100_000
    )
    sharpness: float = setting(
        3.0, f"{_CODE}, gamma", "power of the likeness", least=0, most=FACTOR
    )
    nearness: float = setting(
        0.01,
        f"{_CODE}, sigma",
        "how fast a joint weakens with the distance, per pixel",
        least=0,
        most=FACTOR,
    )
    distance_power: float = setting(
        1.0, f"{_CODE}, pix_dist_pow", "power of the distance", least=0, most=FACTOR
    )
    alpha: float = setting(
        0.95,
        f"{_CODE}, alpha",
        "how much of a score comes from those a place is joined to, below 1",
        least=0,
        most=0.9999,
    )
    solver_iterations: int = setting(
        10,
        "released code, dfs_search: a part of the method; 1000 is the solution",
        "steps of conjugate gradients at most",
        least=1,
        most=MANY,
    )


class LPOSS(ValuePath):
    """MaskCLIP's cosines, propagated over a graph of the patches of all windows."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="LPOSS: labels propagated over the patches of all windows",
        kind="training-free",
        paper="Stojnić et al., CVPR",
        year=2025,
        backbones=("CLIP", "DINO"),
        weights=("clip/ViT-B-16 laion2b_s34b_b88k", "dino/dino_vitb16"),
        code_licence="mit",
    )
    Settings: ClassVar[type[LPOSSSettings]] = LPOSSSettings
    published: ClassVar[Sequence[Published]] = eight(
        names={
            **dict.fromkeys(("voc21", "voc20", "cocoobject"), "lposs"),
            **dict.fromkeys(
                ("context60", "context59", "cocostuff", "ade20k", "cityscapes"), "plain"
            ),
        },
        source="released code, configs/ and segmentation/",
        voc21={},
        context60={},
        cocoobject={},
        voc20={},
        context59={},
        cocostuff={},
        ade20k={},
        cityscapes={},
    )
    settings: LPOSSSettings

    def __init__(self, settings: LPOSSSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        self._dino = load_patch_encoder("dino", settings.dino, runtime, "dino")
        self.checkpoints = (*self.checkpoints, *self._dino.checkpoints)

    def _maps(self, inputs: Sequence[Tensor], windows: Sequence[Windows]) -> list[Tensor]:
        read = self._all_by_window(inputs, windows, self._read)
        with stage("propagate"):
            return [
                self._propagated(scores, alike, layout)
                for (scores, alike), layout in zip(read, windows, strict=True)
            ]

    def _read(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines ``(n, Q, h, w)`` and DINO's features ``(n, d, h, w)``, on DINO's grid."""
        patch = self._dino.patch_size
        height, width = (max(side // patch, 1) * patch for side in windows.shape[-2:])
        images = renormalised(windows[..., :height, :width], self.clip.mean, self.clip.std)
        alike = self._dino.features(images, facet=self.settings.facet)
        found = self.features(windows)
        if found.shape[-2:] != alike.shape[-2:]:
            found = interpolate(found, alike.shape[-2:], mode="bilinear")
        return torch.einsum("qd,ndhw->nqhw", self.text, normalize(found, dim=1)), alike

    def _propagated(self, scores: Tensor, alike: Tensor, windows: Windows) -> Tensor:
        """Scores ``(n, Q, h, w)`` of one picture's windows, brought into line."""
        settings = self.settings
        count, queries, height, width = scores.shape
        graph = patch_graph(
            normalize(alike, dim=1).permute(0, 2, 3, 1).flatten(0, 2),
            centres(windows, (height, width), self._dino.patch_size).to(alike),
            neighbours=settings.neighbours,
            sharpness=settings.sharpness,
            nearness=settings.nearness,
            distance_power=settings.distance_power,
        )
        found = self._solved(graph, scores.permute(0, 2, 3, 1).reshape(-1, queries))
        return found.reshape(count, height, width, queries).permute(0, 3, 1, 2)

    def _solved(self, graph: Tensor, scores: Tensor) -> Tensor:
        settings = self.settings
        return propagate(graph, scores, alpha=settings.alpha, iterations=settings.solver_iterations)

    def _merged(
        self, windows: Windows, maps: Tensor, pixels: Tensor, size: tuple[int, int]
    ) -> Scores:
        """A label with several texts has one score at the input's size, before the last resize."""
        seen = (pixels.shape[1], pixels.shape[2])
        if len(set(self._labels.tolist())) == len(self._labels):
            return windows.merge(maps, size)
        return Scores.enlarged(self._by_label(windows.merge(maps, seen).whole()), size)

    def _by_label(self, scores: Tensor) -> Tensor:
        """Scores ``(Q, H, W)``, each the largest among those of its label; changed in place."""
        for label in set(self._labels.tolist()):
            same = torch.from_numpy(self._labels == label).to(scores.device)
            if same.sum() > 1:
                scores[same] = scores[same].amax(dim=0)
        return scores


@dataclass(frozen=True)
class LPOSSPlusSettings(LPOSSSettings):
    """Settings of :class:`LPOSSPlus`."""

    reach: int = setting(
        6,
        f"{_CODE}, r: 13 pixels along a side",
        "pixels to either side that a pixel is joined to",
        least=1,
        most=64,
    )
    tau: float = setting(
        0.01, f"{_CODE}, tau", "how unlike colours may be, in Lab by 100, 128 and 128", most=FACTOR
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tau <= 0:
            raise ValueError("tau must be positive")


class LPOSSPlus(LPOSS):
    """LPOSS, propagated once more over the pixels of the input."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="LPOSS+: labels propagated over patches, then over pixels",
        kind="training-free",
        paper="Stojnić et al., CVPR",
        year=2025,
        backbones=("CLIP", "DINO"),
        weights=("clip/ViT-B-16 laion2b_s34b_b88k", "dino/dino_vitb16"),
        code_licence="mit",
    )
    Settings: ClassVar[type[LPOSSSettings]] = LPOSSPlusSettings
    settings: LPOSSPlusSettings

    def _merged(
        self, windows: Windows, maps: Tensor, pixels: Tensor, size: tuple[int, int]
    ) -> Scores:
        settings = self.settings
        seen = (pixels.shape[1], pixels.shape[2])
        with stage("refine"):
            scores = windows.merge(maps, seen).whole()
            colours = shown(pixels[None], self.clip.mean, self.clip.std)[0].clamp(0, 1)
            graph = pixel_graph(rgb_to_lab(colours), reach=settings.reach, tau=settings.tau)
            found = self._solved(graph, scores.flatten(1).T).T.reshape_as(scores)
        return Scores.enlarged(self._by_label(found), size)


def centres(windows: Windows, grid: tuple[int, int], patch: int) -> Tensor:
    """Where the patches of windows lie in the input, ``(n * h * w, 2)``: row and column in pixels.

    Args:
        grid: rows and columns of patches in every window.
        patch: side of a patch in pixels.
    """

    def along(axis: Axis, start: int, places: int) -> Tensor:
        return torch.arange(places) * patch + patch // 2 + start - axis.before

    rows, columns = windows.rows, windows.columns
    return torch.cat(
        [
            torch.cartesian_prod(along(rows, top, grid[0]), along(columns, left, grid[1])).reshape(
                -1, 2
            )
            for top, left in product(rows.starts, columns.starts)
        ]
    )
