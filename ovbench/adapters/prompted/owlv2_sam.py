"""OWLv2 finds boxes of every class by its name, and SAM draws what is in them.

Minderer, Gritsenko and Houlsby, "Scaling Open-Vocabulary Object Detection", NeurIPS 2023; released
code: github.com/google-research/scenic, projects/owl_vit. The pair is our choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from ovbench.adapters.parts.templates import TemplateSet, templates
from ovbench.adapters.prompted.painting import Painting, PaintingSettings
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import setting
from ovbench.models.prompted.boxes import Boxes
from ovbench.models.prompted.owlv2 import load_owlv2
from ovbench.models.sam.loading import load_promptable


@dataclass(frozen=True)
class OWLv2SamSettings(PaintingSettings):
    """Settings of :class:`OWLv2Sam`."""

    weights: str = setting(
        "owlv2_base_patch16_ensemble",
        "our choice: the checkpoint of transformers' examples",
        "the detector: of the catalogue, a hub id owner/name[@revision], or random",
        picks="owlv2/{weights}",
    )
    prompts: TemplateSet = setting(
        "clip7",
        "scenic, owl_vit/preprocessing/label_ops.py, CLIP_BEST_PROMPT_TEMPLATES",
        "set of prompt templates whose embeddings are averaged",
    )
    box_above: float = setting(
        0.1,
        "transformers, Owlv2ImageProcessor.post_process_object_detection",
        "a box is drawn if the probability of its best query is higher",
        least=0,
        most=1,
    )


class OWLv2Sam(Painting):
    """One text per query; a box has the name of its most probable query."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="OWLv2 and SAM: boxes found by name, and what is in them drawn",
        kind="box-supervised",
        paper="Minderer et al., NeurIPS",
        year=2023,
        backbones=("OWLv2", "SAM"),
        weights=("owlv2/owlv2_base_patch16_ensemble", "sam/sam_vit_h"),
        code_licence="apache-2.0",
    )
    Settings = OWLv2SamSettings
    settings: OWLv2SamSettings

    def __init__(self, settings: OWLv2SamSettings, runtime: Runtime) -> None:
        self.settings = settings
        self._detector = load_owlv2(settings.weights, runtime)
        self.sam = load_promptable(settings.sam, runtime)
        self.checkpoints = (*self._detector.checkpoints, *self.sam.checkpoints)

    def read(self, texts: Sequence[str]) -> None:
        """See :class:`~ovbench.adapters.prompted.painting.Painting`."""
        self._texts = self._detector.embed_queries(texts, templates(self.settings.prompts))

    def find(self, image: Image, asked: npt.NDArray[np.intp]) -> Boxes:
        """See :class:`~ovbench.adapters.prompted.painting.Painting`."""
        return self._detector.find(self._detector.see(image), self._texts[torch.from_numpy(asked)])
