"""Masks of prompts that no class decides: one at every point of a grid, the same for all runs."""

from __future__ import annotations

import torch

from ovbench.adapters.matcher.masks import Found
from ovbench.adapters.matcher.settings import MatcherSettings
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.regions.sam_grids import SamGrid
from ovbench.models.regions.store import Regions
from ovbench.models.sam.promptable import EncodedImage, PromptableSegmenter


class Grid:
    """A picture's embedding and its grid's masks, of which the latter are kept on disk."""

    def __init__(
        self, sam: PromptableSegmenter, settings: MatcherSettings, runtime: Runtime
    ) -> None:
        """Take a SAM that is loaded."""
        self._sam = sam
        self._last: tuple[Image, EncodedImage] | None = None
        generator = SamGrid(
            settings.sam,
            settings.grid,
            settings.grid_pred_iou,
            settings.grid_stability,
            box_overlap=1.0,  # which are doubles is decided together with a class's masks
            multimask=False,
        )
        self._regions = None
        if settings.grid:
            self._regions = Regions(generator, runtime, generator.ready(sam, self.encode))

    def encode(self, image: Image) -> EncodedImage:
        """Of the same picture as before, what was made then."""
        if self._last is None or self._last[0] is not image:
            self._last = image, self._sam.encode(image)
        return self._last[1]

    def masks(self, image: Image) -> list[Found]:
        """Those that pass, or nothing without a grid."""
        if self._regions is None:
            return []
        (found,) = self._regions.masks([image])
        device = self._sam.device
        return [
            Found.of(*(torch.from_numpy(part).to(device) for part in (found.masks, found.scores)))
        ]
