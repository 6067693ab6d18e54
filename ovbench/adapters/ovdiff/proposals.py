"""Masks of whatever stands out in a picture, of no class: what stands in for CutLER."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn import functional

from ovbench.adapters.ovdiff.extractors import PatchFeatures
from ovbench.adapters.ovdiff.masks import Mask
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.patches.encoder import load_patch_encoder
from ovbench.models.sam.loading import load_promptable
from ovbench.models.sam.promptable import PromptableSegmenter
from ovbench.models.sam.proposals import ProposalSettings, propose
from ovbench.models.weights.checkpoints import locate
from ovbench.refine.normalized_cut import cut_masks


class MaskSource(Protocol):
    """Proposes masks. Its weights are loaded when a picture comes, since few runs need them.

    Attributes:
        checkpoints: the weights behind it.
        reading: what else decides its masks, JSON-ready.
    """

    checkpoints: tuple[CheckpointRecord, ...]
    reading: Mapping[str, Any]

    def masks(self, image: Image) -> Mask:
        """``(R, H, W)`` bool; they may overlap, and there may be none."""
        ...


class MaskCutMasks:
    """Normalised cuts of DINO's keys, one object after the other: what CutLER was trained on."""

    def __init__(self, name: str, count: int, runtime: Runtime) -> None:
        self._name, self._count, self._runtime = name, count, runtime
        self.checkpoints = locate("dino", name, runtime).records
        self.reading: Mapping[str, Any] = {"proposals": "maskcut", "count": count}

    @cached_property
    def _features(self) -> PatchFeatures:
        return PatchFeatures(load_patch_encoder("dino", self._name, self._runtime))

    def masks(self, image: Image) -> Mask:
        """See :class:`MaskSource`; as coarse as the patches, their edges rounded."""
        height, width = image.shape[:2]
        (keys,) = self._features.features([image], min(height, width))
        cuts = cut_masks(keys.permute(1, 2, 0).cpu().numpy(), self._count)
        if not cuts:
            return np.zeros((0, height, width), bool)
        soft = torch.from_numpy(np.stack(cuts))[:, None].float()
        enlarged = functional.interpolate(soft, (height, width), mode="bilinear")[:, 0]
        found: Mask = (enlarged > 0.5).numpy()
        return found


class SamMasks:
    """SAM asked at a grid of points, with the thresholds of its authors."""

    def __init__(self, name: str, points: int, runtime: Runtime) -> None:
        self._name, self._runtime = name, runtime
        self._settings = ProposalSettings(points_per_side=points)
        self.checkpoints = locate("sam", name, runtime).records
        self.reading: Mapping[str, Any] = {"proposals": "sam", "points": points}

    @cached_property
    def _sam(self) -> PromptableSegmenter:
        return load_promptable(self._name, self._runtime)

    def masks(self, image: Image) -> Mask:
        """See :class:`MaskSource`."""
        return propose(self._sam, self._sam.encode(image), self._settings).masks
