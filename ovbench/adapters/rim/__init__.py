"""RIM: regions of SAM, recognised by pictures that Stable Diffusion makes of the class names.

Wang, Sun, Luo, Pan and Zhang, "Image-to-Image Matching via Foundation Models: A New Perspective
for Open-Vocabulary Semantic Segmentation", CVPR 2024. Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ovbench.adapters.parts.candidates import allowed_labels, pairs
from ovbench.adapters.rim.crops import CropRecogniser
from ovbench.adapters.rim.encoders import load_encoder
from ovbench.adapters.rim.painting import paint, priorities
from ovbench.adapters.rim.recogniser import ReferenceRecogniser
from ovbench.adapters.rim.regions import proposals_of, with_remainder
from ovbench.adapters.rim.settings import PRESETS, RIMSettings
from ovbench.adapters.rim.settled import settle
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.clip.model import load_clip
from ovbench.models.diffusion.attention import AttributionRule
from ovbench.models.diffusion.sampling import Sampling
from ovbench.models.regions.store import Regions
from ovbench.models.sam.loading import load_promptable
from ovbench.support import Recipe, SupportSets


class RIM:
    """Proposals, each labelled with the class whose references it is most like."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="RIM: regions compared with made pictures of each class",
        kind="training-free",
        paper="Wang et al., CVPR",
        year=2024,
        backbones=("Stable Diffusion", "SAM", "DINOv2"),
        weights=(
            "stable_diffusion/stable_diffusion_v1_4",
            "sam/sam_vit_b",
            "dinov2/dinov2_base",
        ),
    )
    Settings = RIMSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    def __init__(self, settings: RIMSettings, runtime: Runtime) -> None:
        """Load what images are looked at with; Stable Diffusion waits until it is needed.

        Raises:
            UsageError: weights that cannot be had, or settings that do not go with them.
        """
        by_text = settings.matching == "text"
        needs_sam = settings.proposals == "sam" or settings.reference_mask == "sam"
        self._sam = load_promptable(settings.sam, runtime) if needs_sam else None
        encoder = None if by_text else load_encoder(settings, runtime)
        self.settings = settle(settings, encoder, self._sam)
        self._proposals: Regions | None = None
        if self._sam and settings.proposals == "sam":
            self._proposals = proposals_of(self._sam, self.settings, runtime)
        self.checkpoints: tuple[CheckpointRecord, ...] = self._sam.checkpoints if self._sam else ()
        self._recogniser: CropRecogniser | ReferenceRecogniser
        if encoder is None:
            clip = load_clip(settings.clip_architecture, settings.clip_pretrained, runtime)
            self._recogniser = CropRecogniser(clip, self.settings)
            self.checkpoints += (clip.checkpoint,)
        else:
            supports = SupportSets(self.recipe(settings, runtime.seed), runtime)
            cutter = self._sam if settings.reference_mask == "sam" else None
            self._recogniser = ReferenceRecogniser(
                supports, encoder, cutter, self.settings, runtime
            )
            records = (*self.checkpoints, *encoder.checkpoints, *supports.checkpoints)
            self.checkpoints = tuple(dict.fromkeys(records))

    @staticmethod
    def recipe(settings: RIMSettings, seed: int) -> Recipe:
        """What the reference pictures are made by."""
        return Recipe(
            settings.diffusion,
            settings.prompt,
            "",
            Sampling(settings.solver, settings.steps, settings.guidance),
            # The paper's equation 3: each map is divided by its own maximum.
            AttributionRule(settings.attention_reductions, True, "bilinear"),
            seed,
        )

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Make the references, or recall them."""
        self._vocabulary = vocabulary
        self._recogniser.prepare(vocabulary)
        self.notes = self._recogniser.notes

    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`; each image is computed alone."""
        return [
            self._segment(image, allowed_labels(self._vocabulary, chosen))
            for image, chosen in pairs(images, candidates)
        ]

    def _segment(self, image: Image, allowed: npt.NDArray[np.intp]) -> LabelMap:
        settings, vocabulary = self.settings, self._vocabulary
        if settings.proposals == "none":
            assert isinstance(self._recogniser, ReferenceRecogniser)  # the settings see to it
            return self._recogniser.classify_pixels(image, allowed)
        assert self._proposals is not None
        (found,) = self._proposals.masks([image])
        masks, estimates = found.masks, found.scores
        if settings.holes == "region" or not vocabulary.background:
            masks, estimates = with_remainder(masks, estimates)
        labels, scores = self._recogniser.recognise(image, masks, allowed)
        with stage("paint"):
            priority = priorities(settings.overlap, masks, scores, estimates)
            return paint(masks, labels, priority, elsewhere=0, dtype=vocabulary.label_dtype)
