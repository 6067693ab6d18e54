"""Trident: ProxyCLIP's features of windows, spliced, then gathered over the picture by SAM.

Shi et al., "Harnessing Vision Foundation Models for High-Performance, Training-Free Open Vocabulary
Segmentation", ICCV 2025; released code: github.com/YuHengsss/Trident.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from ovbench.adapters.dense_clip.proxyclip import ProxySettings, proxied
from ovbench.adapters.parts.affinity import mean_cosine
from ovbench.adapters.parts.candidates import allowed_labels, pairs
from ovbench.adapters.parts.dense_clip import WINDOWS_AT_A_TIME, DenseCLIP
from ovbench.adapters.parts.published import eight
from ovbench.adapters.parts.vfm import WEIGHTS, load_vfm
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import FACTOR, MANY, SIDE, require_shares, setting
from ovbench.harness.contract.stages import stage
from ovbench.models.clip.trunk import Trunk, on_grid
from ovbench.models.pixels.inputs import pixels_of, resized, up_to_multiples
from ovbench.models.pixels.scores import Scores
from ovbench.models.pixels.windows import Windows
from ovbench.models.sam.correlation import correlation, encode_attended
from ovbench.models.sam.model import load_sam
from ovbench.models.sam.refinement import redrawn

_CONFIG = "released code, configs/base_config.py"


@dataclass(frozen=True)
class TridentSettings(ProxySettings):
    """Settings of :class:`Trident`."""

    NO_MARGINS: ClassVar[str] = "Trident's windows are whole patches"

    vfm: str = setting(
        "dino_vitb16",
        "paper and released code: DINO ViT-B/16",
        "the model that says which patches are alike: as in the catalogue, a hub id, or random",
        picks=WEIGHTS,
    )
    short_side: int | None = setting(
        None,
        "released code, configs/cfg_voc21.py: 448; others 336 to 688",
        "shorter side of the input in pixels; none is twice the CLIP's training size",
        most=SIDE,
    )
    window_stride: int | None = setting(
        None,
        f"{_CONFIG}, slide_stride: 224",
        "pixels between windows, whole patches; none is the CLIP's training size",
        most=SIDE,
    )
    sam: str = setting(
        "sam_vit_b",
        f"{_CONFIG}, sam_model_type",
        "the SAM that gathers and refines: of the catalogue, or random",
        picks="sam/{sam}",
    )
    correlate: bool = setting(
        True, "paper, section 3; off is our choice", "gather features by SAM's last attention"
    )
    cosine_factor: float = setting(
        1.2,
        f"{_CONFIG}, cos_fac",
        "SAM's attention counts where values are more alike than this many times the mean",
        least=0,
        most=FACTOR,
    )
    raise_negative: bool = setting(
        False,
        f"{_CONFIG}, refine_neg_cos, which is its opposite",
        "where that mean is below zero, ask for a cosine of 0.6",
    )
    halves: bool = setting(
        False,
        "released code, trident.py: for Cityscapes",
        "show SAM the left and the right half of a picture one after the other",
    )
    sam_refinement: bool = setting(
        False, "released code, eval.py, sam_refine", "let SAM draw the regions found"
    )
    coarse_threshold: float = setting(
        0.2,
        f"{_CONFIG}, coarse_thresh",
        "probability below which a place belongs to no region that SAM is asked for",
    )
    region_area: int = setting(
        225, f"{_CONFIG}, minimal_area", "smallest region, in pixels at half size", most=MANY * MANY
    )
    mask_weight: float = setting(
        0.005,
        "released code, trident.py, sam_mask_coff",
        "factor on probabilities as SAM's mask prompt",
        least=0,
        most=FACTOR,
    )
    predicted_iou: float = setting(
        0.8,
        f"{_CONFIG}, sam_iou_thresh; the constructor has 0.9",
        "predicted IoU that SAM's masks must pass",
        least=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require_shares(self, "coarse_threshold")
        if self.region_area < 1:
            raise ValueError("region_area must be positive")


class Trident(DenseCLIP):
    """Each picture's windows are one map before the last block's end, which SAM then mixes."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="Trident: windows spliced by CLIP and DINO, gathered by SAM",
        kind="training-free",
        paper="Shi et al., ICCV",
        year=2025,
        backbones=("CLIP", "DINO", "SAM"),
        weights=("clip/ViT-B-16 openai", "dino/dino_vitb16", "sam/sam_vit_b"),
        code_licence="apache-2.0",
    )
    Settings = TridentSettings
    published: ClassVar[Sequence[Published]] = eight(
        names="proxyclip",
        source="released code, configs/ and README.md",
        common={"sam_refinement": True},
        voc21={"short_side": 448, "background_threshold": 0.2},
        context60={"short_side": 576, "background_threshold": 0.15, "coarse_threshold": 0.15},
        cocoobject={"short_side": 448, "background_threshold": 0.25, "coarse_threshold": 0.25},
        voc20={"short_side": 336, "window_stride": 112, "cosine_factor": 0.0},
        context59={"short_side": 576, "coarse_threshold": 0.15},
        cocostuff={"short_side": 448, "coarse_threshold": 0.05},
        ade20k={"short_side": 576, "raise_negative": True, "coarse_threshold": 0.05},
        cityscapes={
            "short_side": 688,
            "cosine_factor": 3.0,
            "raise_negative": True,
            "coarse_threshold": 0.1,
            "halves": True,
        },
    )
    SIZES: ClassVar[Mapping[str, float]] = {"short_side": 2, "window": 1.5, "window_stride": 1}
    settings: TridentSettings

    def __init__(self, settings: TridentSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        clip = self.clip
        for name in ("window", "window_stride"):
            if self._pixels(name) % clip.stride:
                raise UsageError(
                    f"{name}={self._pixels(name)}: windows are spliced patch by patch, so it must "
                    f"be a multiple of the {clip.stride} pixels of {clip.checkpoint.name}"
                )
        self.vfm = load_vfm(
            settings.vfm, runtime, settings.vfm_reading, mean=clip.mean, std=clip.std
        )
        self.sam = load_sam(settings.sam, runtime)
        self.checkpoints += self.vfm.checkpoints + self.sam.checkpoints

    def features(self, windows: Tensor) -> Tensor:
        """See :class:`~ovbench.adapters.parts.dense_clip.DenseCLIP`; before they are spliced."""
        trunk, mixed = self._proxied(windows, self.vfm.features(windows))
        return on_grid(trunk.joint(mixed.flatten(2).mT), (mixed.shape[2], mixed.shape[3]))

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`; images one after the other, for SAM's attention."""
        answers = []
        for image, chosen in pairs(images, candidates):
            with stage("preprocess"):
                pixels = self._input(image)
                layout = self._windows(pixels)
            with stage("encode"):
                trunk, spliced = self._spliced(layout.cut(pixels), layout)
            with stage("correlate"):
                found = self._gathered(image, spliced) if self.settings.correlate else spliced
                grid = found.shape[2], found.shape[3]
                joint = on_grid(trunk.joint(found.flatten(2).mT), grid)
                maps = torch.einsum("qd,dhw->qhw", self.text, normalize(joint[0], dim=0))
            scores = Scores.enlarged(maps, (image.shape[0], image.shape[1]))
            labels = self._answer(scores, pixels, chosen)
            if self.settings.sam_refinement:
                with stage("refine"):
                    labels = self._redrawn(image, labels, scores, chosen)
            answers.append(labels)
        return answers

    def _input(self, image: Image) -> Tensor:
        """Enlarged to whole patches, the longer side first, unless it has them."""
        least = self._pixels("window")
        return up_to_multiples(super()._input(image), self.clip.stride, least)

    def _proxied(
        self, windows: Tensor, seen: Tensor, mean: Tensor | None = None
    ) -> tuple[Trunk, Tensor]:
        """The last block and ``(B, width, h, w)`` out of its attention, on whole patches."""
        settings = self.settings
        trunk = self.clip.trunk(windows, positions=settings.positions)
        mixed = proxied(trunk, seen, beta=settings.beta, gamma=settings.gamma, mean=mean)
        return trunk, self._on_patches(on_grid(mixed, (seen.shape[2], seen.shape[3])), trunk.grid)

    @staticmethod
    def _on_patches(mixed: Tensor, grid: tuple[int, int]) -> Tensor:
        """As they are where each patch has as many places, else as many as nearly fit."""
        height, width = mixed.shape[2:]
        times = max(1, round(height / grid[0]))
        wanted = grid[0] * times, grid[1] * times
        if (height, width) == wanted:
            return mixed
        return interpolate(mixed, wanted, mode="bilinear")

    def _spliced(self, windows: Tensor, layout: Windows) -> tuple[Trunk, Tensor]:
        """The last block and the windows' features averaged over the input, ``(1, d, h, w)``.

        As released, cosines are held to their mean over all of a picture's windows.
        """
        parts = torch.split(windows, WINDOWS_AT_A_TIME)
        seen = [self.vfm.features(part) for part in parts]
        mean = mean_cosine(torch.cat(seen))
        read = [self._proxied(*part, mean) for part in zip(parts, seen, strict=True)]
        return read[0][0], layout.splice(torch.cat([mixed for _, mixed in read]), self.clip.stride)

    def _gathered(self, image: Image, spliced: Tensor) -> Tensor:
        """Features ``(1, d, h, w)`` on SAM's grid, each from the places that it looks at."""
        whole = self._for_sam(image)
        if not self.settings.halves or min(whole.shape[1], spliced.shape[3]) < 2:
            return self._looked(whole, spliced)
        middle, column = whole.shape[1] // 2, spliced.shape[3] // 2
        left = self._looked(whole[:, :middle], spliced[..., :column])
        return torch.cat([left, self._looked(whole[:, middle:], spliced[..., column:])], dim=3)

    def _looked(self, part: Image, spliced: Tensor) -> Tensor:
        _, looked = encode_attended(self.sam, part)
        settings = self.settings
        joined = correlation(
            looked.values,
            looked.weights(),
            factor=settings.cosine_factor,
            raise_negative=settings.raise_negative,
        )
        return gathered(joined, spliced, looked.grid)

    def _for_sam(self, image: Image) -> Image:
        """At its own size, each side enlarged to whole patches of the CLIP."""
        patch = self.clip.stride
        size = -(-image.shape[0] // patch) * patch, -(-image.shape[1] // patch) * patch
        pixels = pixels_of(image, torch.device("cpu"))[None]
        found = resized(pixels, size, mode="bilinear", antialias=False, whole_numbers=True)
        whole: Image = found[0].permute(1, 2, 0).numpy().astype(np.uint8)
        return whole

    def _redrawn(
        self, image: Image, labels: LabelMap, scores: Scores, candidates: Collection[int] | None
    ) -> LabelMap:
        settings = self.settings
        allowed = np.isin(self._labels, allowed_labels(self.vocabulary, candidates))
        scores, names = scores.of(torch.from_numpy(allowed)), self._labels[allowed]
        total = log_mass(scores, settings.logit_scale)

        def probability(label: int) -> Tensor:
            best = scores.of(torch.from_numpy(names == label)).whole().amax(dim=0)
            return (best * settings.logit_scale - total).exp()

        return redrawn(
            self.sam,
            self.sam.encode(self._for_sam(image)),
            labels,
            names.tolist(),
            probability,
            above=settings.coarse_threshold,
            least_area=settings.region_area,
            weight=settings.mask_weight,
            predicted_iou=settings.predicted_iou,
        )


def gathered(joined: Tensor, features: Tensor, grid: tuple[int, int]) -> Tensor:
    """Features ``(1, d, h, w)`` brought to a grid of n places and mixed by ``(n, n)``."""
    rows = interpolate(features, grid, mode="bilinear").flatten(2).mT
    return on_grid(joined.to(rows.dtype) @ rows, grid)


def log_mass(scores: Scores, scale: float) -> Tensor:
    """The logarithm of what a softmax over queries divides by, ``(H, W)`` float32."""
    total = torch.full(scores.size, -torch.inf, device=scores.maps.device)
    for _, top, values in scores.strips():
        rows = slice(top, top + len(values))
        total[rows] = torch.logaddexp(total[rows], (values * scale).logsumexp(dim=1))
    return total
