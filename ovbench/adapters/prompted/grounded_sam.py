"""Grounding DINO finds boxes of every class by its name, and SAM draws what is in them.

Liu et al., "Grounding DINO: Marrying DINO with Grounded Pre-Training for Open-Set Object
Detection", ECCV 2024; Ren et al., "Grounded SAM" (arXiv:2401.14159), has the pair; released code:
github.com/IDEA-Research/Grounded-Segment-Anything, and with SAM 2
github.com/IDEA-Research/Grounded-SAM-2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from ovbench.adapters.prompted.painting import Painting, PaintingSettings
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import SIDE, setting
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD, input_tensor, kept_ratio
from ovbench.models.prompted.boxes import Boxes
from ovbench.models.prompted.grounding_dino import load_grounding_dino
from ovbench.models.sam.loading import load_promptable


@dataclass(frozen=True)
class GroundedSamSettings(PaintingSettings):
    """Settings of :class:`GroundedSam`."""

    weights: str = setting(
        "grounding_dino_tiny",
        "transformers' examples; the demo has the same size, Swin-T",
        "the detector: of the catalogue, a hub id owner/name[@revision], or random",
        picks="grounding_dino/{weights}",
    )
    short_side: int = setting(
        800,
        "released code, grounded_sam_demo.py, RandomResize([800])",
        "shorter side of the picture that the detector sees, in pixels",
        most=SIDE,
    )
    max_long_side: int = setting(
        1333, "released code, grounded_sam_demo.py, max_size", "limit of its longer side", most=SIDE
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("short_side", "max_long_side"):
            if getattr(self, name) < 32:
                raise ValueError(f"{name} must be at least 32")


class GroundedSam(Painting):
    """Phrases in captions; a box has the name of the phrase that its best token is of."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="Grounded SAM: boxes by Grounding DINO, and what is in them drawn",
        kind="box-supervised",
        paper="Ren et al., arXiv",
        year=2024,
        backbones=("Grounding DINO", "SAM"),
        weights=("grounding_dino/grounding_dino_tiny", "sam/sam_vit_h"),
        code_licence="apache-2.0",
    )
    Settings = GroundedSamSettings
    settings: GroundedSamSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Grounded SAM 2: released code, grounded_sam2_local_demo.py, whose detector is Swin-T too.
        "grounded_sam_2": {"sam": "sam2.1_hiera_large", "box_above": 0.35},
    }

    def __init__(self, settings: GroundedSamSettings, runtime: Runtime) -> None:
        self.settings = settings
        self._detector = load_grounding_dino(settings.weights, runtime)
        self.sam = load_promptable(settings.sam, runtime)
        self.checkpoints = (*self._detector.checkpoints, *self.sam.checkpoints)

    def read(self, texts: Sequence[str]) -> None:
        """See :class:`~ovbench.adapters.prompted.painting.Painting`."""
        self._phrases = list(texts)
        self._captions = self._detector.read(texts)

    def find(self, image: Image, asked: npt.NDArray[np.intp]) -> Boxes:
        """See :class:`~ovbench.adapters.prompted.painting.Painting`.

        The boxes of all captions, which have no logit for the phrases of others.
        """
        size = (image.shape[0], image.shape[1])
        seen = kept_ratio(
            size,
            short_side=self.settings.short_side,
            max_long_side=self.settings.max_long_side,
            least=32,
        )
        pixels = input_tensor(
            image,
            seen,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            mode="bilinear",
            device=self._detector.device,
            whole_numbers=True,
        )[None]
        captions = self._captions
        if len(asked) < len(self._phrases):  # what is no candidate would change the others' boxes
            captions = self._detector.read([self._phrases[i] for i in asked])
        places, logits = [], []
        for caption in captions:
            found = self._detector.find(pixels, caption, size)
            every = found.logits.new_full((len(found.logits), len(asked)), -torch.inf)
            every[:, list(caption.phrases)] = found.logits
            places.append(found.places)
            logits.append(every)
        return Boxes(torch.cat(places), torch.cat(logits))
