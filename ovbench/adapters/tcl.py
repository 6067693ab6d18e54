"""TCL: a masker that learned from captions which places of a picture a text is about.

Cha, Mun and Roh, "Learning to Generate Text-grounded Mask for Open-world Semantic Segmentation
from Only Image-Text Pairs", CVPR 2023; released code: github.com/kakaobrain/tcl.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.parts.published import eight
from ovbench.adapters.parts.sliding import SIZES, Found, Sliding, SlidingSettings, sized
from ovbench.adapters.parts.templates import TemplateSet, templates
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import MANY, setting
from ovbench.harness.contract.stages import stage
from ovbench.models.clip.last_block import attend, values_alone
from ovbench.models.clip.masker import load_masker
from ovbench.models.clip.model import load_clip
from ovbench.refine.pamr import pamr

# The released code, models/tcl/tcl.py (kp_branch): from CLIP's cosines to probabilities.
PRIOR_SHARPNESS = 10.0
PRIOR_CENTRE = 0.25


@dataclass(frozen=True)
class TCLSettings(SlidingSettings):
    """Settings of :class:`TCL`."""

    architecture: str = setting(
        "ViT-B-16", "paper and released code", "open_clip's name of the frozen CLIP"
    )
    pretrained: str = setting(
        "openai",
        "paper and released code",
        "open_clip's tag of its weights, tag@revision, or random",
        picks="clip/ViT-B-16 {pretrained}",
    )
    weights: str = setting(
        "tcl_vitb16",
        "released code, README",
        "the masker: of the catalogue, or random",
        picks="tcl/{weights}",
    )
    prompts: TemplateSet = setting(
        "tcl9",
        "released code, datasets/templates.py (custom)",
        "set of prompt templates whose embeddings are averaged, not normalised before",
    )
    prior_weight: float = setting(
        0.3,
        "released code, configs/eval.yml, kp_w",
        "share of what CLIP itself says of a patch; the masker has the rest",
    )
    background_score: float = setting(
        0.5,
        "released code, bg_thresh: 0.5 in configs/default.yml, 0.4 with PAMR in eval.yml",
        "what background scores everywhere",
        least=0,
        most=1,
    )
    pamr_iterations: int = setting(
        0,
        "the rows without PAMR; released code, configs/eval.yml: 10",
        "refine a window's masks, at a quarter of its size, by pixels of like colour; 0 is off",
        most=MANY,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.prior_weight <= 1:
            raise ValueError("prior_weight must be from 0 to 1")
        if self.pamr_iterations < 0:
            raise ValueError("pamr_iterations must not be negative")


class TCL(Sliding):
    """Every class has a mask by itself; background is a constant."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="TCL: a masker beside CLIP that learned from captions to cut texts out",
        kind="weakly trained",
        paper="Cha et al., CVPR",
        year=2023,
        backbones=("CLIP",),
        weights=("clip/ViT-B-16 openai", "tcl/tcl_vitb16"),
        code_licence="mit",
    )
    Settings = TCLSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # As configs/eval.yml has it, on all benchmarks alike.
        "pamr": {"pamr_iterations": 10, "background_score": 0.4},
    }
    published: ClassVar[Sequence[Published]] = eight(
        names=None,
        source="paper, the rows without PAMR; one setting for all",
        voc21={},
        context60={},
        cocoobject={},
        voc20={},
        context59={},
        cocostuff={},
        ade20k={},
        cityscapes={},
    )
    # The decoder holds 768 channels at a quarter of the pixels, some 40 MB a window and layer.
    at_a_time: ClassVar[int] = 4
    settings: TCLSettings

    def __init__(self, settings: TCLSettings, runtime: Runtime) -> None:
        self._clip = load_clip(settings.architecture, settings.pretrained, runtime)
        self.settings = sized(settings, SIZES, self._clip.image_size)
        self._masker = load_masker(settings.weights, self._clip, runtime)
        self.checkpoints = (self._clip.checkpoint, *self._masker.checkpoints)
        self.device = self._clip.device
        self.patch = self.multiple = self._clip.stride

    def embed(self, texts: Sequence[str]) -> Tensor:
        """See :class:`~ovbench.adapters.parts.sliding.Sliding`."""
        return self._clip.embed_queries(texts, templates(self.settings.prompts), unit=False)

    def read(self, windows: Tensor) -> Found:
        """Cosines of all texts with the masker's places, and with CLIP's own patches.

        ``(n, Q, f * h, f * w)`` and ``(n, Q, h, w)``; f is 4 for patches of 16 pixels.
        """
        trunk = self._clip.trunk(windows)
        own, _ = attend(trunk, values_alone, residual=True, mlp=True)
        return self._cosines(self._masker.embed(trunk)), self._cosines(own)

    def scores(
        self, found: Found, windows: Tensor, queries: Tensor, background: bool
    ) -> tuple[Tensor, Tensor]:
        """See :class:`~ovbench.adapters.parts.sliding.Sliding`."""
        settings = self.settings
        cosines, prior = (maps[:, queries] for maps in found)
        masks = self._masker.masks(cosines)
        if settings.pamr_iterations:
            with stage("refine"):
                masks = self._refined(masks, windows)
        likely = (PRIOR_SHARPNESS * (prior - PRIOR_CENTRE)).sigmoid()
        likely = functional.interpolate(likely, masks.shape[2:], mode="bilinear")
        masks = torch.lerp(masks, likely, settings.prior_weight)
        if background:
            constant = torch.full_like(masks[:, :1], settings.background_score)
            masks = torch.cat([constant, masks], dim=1)
        return masks, queries

    def _cosines(self, places: Tensor) -> Tensor:
        unit = functional.normalize(places, dim=1)
        return torch.einsum("qd,bdhw->bqhw", self.text, unit)

    def _refined(self, masks: Tensor, windows: Tensor) -> Tensor:
        """By PAMR, window by window, on the window at the masks' size."""
        size = masks.shape[2:]
        images = functional.interpolate(windows, size, mode="bilinear", align_corners=True)
        iterations = self.settings.pamr_iterations
        return torch.stack(
            [pamr(*pair, iterations=iterations) for pair in zip(images, masks, strict=True)]
        )
