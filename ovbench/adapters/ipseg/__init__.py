"""IPSeg: a picture of an object is enough to find its like, without any training.

Tang et al., "Towards Training-free Open-world Segmentation via Image Prompt Foundation Models"
(IJCV 2024); released code: github.com/luckybird1994/IPSeg. Features of Stable Diffusion and
DINOv2 say where a picture is like the prompt; SAM cuts out what is there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ovbench.adapters.ipseg.asking import Asker
from ovbench.adapters.ipseg.encoders import load_encoder
from ovbench.adapters.ipseg.features import Extractor
from ovbench.adapters.ipseg.labels import Canvas, similarity_in
from ovbench.adapters.ipseg.points import point_prompt
from ovbench.adapters.ipseg.prompt import find_object, mean_of, pooled, similarity
from ovbench.adapters.ipseg.settings import PRESETS, IPSegSettings, settle
from ovbench.adapters.parts.candidates import allowed_labels, pairs
from ovbench.adapters.parts.exemplars import require_exemplars
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import ClassQuery, Exemplar, Vocabulary
from ovbench.models.diffusion.model import load_diffusion
from ovbench.models.patches.saliency import load_saliency
from ovbench.models.sam.loading import load_promptable

Prompt = tuple[tuple[Tensor, ...], str]
"""An exemplar's embedding, and how its object was found."""

REMEMBERED = 1000
"""Pictures whose embeddings are kept (our choice), a few kB each: benchmarks come back to a class
again and again, with others in between.
"""

HOW = {
    "pca": "no object found, its first principal component was taken",
    "none": "nothing stands out, the whole picture was taken",
}


class IPSeg:
    """For every class: the places most and least like its prompts are SAM's points."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="IPSeg: what looks like a prompt picture, cut out by SAM",
        kind="image-prompted",
        paper="Tang et al., IJCV",
        year=2024,
        backbones=("Stable Diffusion", "DINOv2", "FOUND", "SAM"),
        weights=(
            "stable_diffusion/stable_diffusion_v1_5",
            "dinov2/dinov2_base",
            "dino/dino_vits8",
            "saliency/found_dino_vits8",
            "sam/sam_vit_h",
        ),
        code_licence="none stated",
    )
    Settings = IPSegSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    needs_exemplars = True

    def __init__(self, settings: IPSegSettings, runtime: Runtime) -> None:
        """Load the weights that the settings use.

        Raises:
            UsageError: weights that cannot be had.
        """
        reads_diffusion = settings.features in ("both", "sd")
        diffusion = load_diffusion(settings.diffusion, runtime) if reads_diffusion else None
        encoder = load_encoder(settings, runtime)
        by_saliency = settings.prompt_mask == "saliency"
        self._saliency = load_saliency(settings.saliency, runtime) if by_saliency else None
        self._sam = load_promptable(settings.sam, runtime)
        models = (diffusion, encoder, self._saliency, self._sam)
        self.checkpoints = tuple(c for model in models if model for c in model.checkpoints)
        self.settings = settle(settings, self.checkpoints)
        self._seed = runtime.seed
        self._extractor = Extractor(self.settings, diffusion, encoder, runtime.seed)
        self._prompts: dict[str, Prompt] = {}

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Embed every exemplar, or remember it from one of the vocabularies before.

        Raises:
            UsageError: a class is not shown, or has no mask where the settings need one.
        """
        require_exemplars(vocabulary, "ipseg")
        shown = {e.sha256: e for query in vocabulary.classes for e in query.exemplars}
        read = {
            key: self._prompts.get(key) or self._read(exemplar) for key, exemplar in shown.items()
        }
        before = [(key, prompt) for key, prompt in self._prompts.items() if key not in read]
        # The latest stand last.
        self._prompts = dict([*before, *read.items()][-max(REMEMBERED, len(read)) :])
        self._vocabulary = vocabulary
        self._embeddings = [self._embedding(query) for query in vocabulary.classes]
        self.notes = (
            f"{len(vocabulary.classes)} classes shown by {len(shown)} pictures",
            *self._surprises(),
        )

    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`; images are computed one by one."""
        return [self._segment(image, chosen) for image, chosen in pairs(images, candidates)]

    def _segment(self, image: Image, candidates: Collection[int] | None) -> LabelMap:
        vocabulary, settings = self._vocabulary, self.settings
        canvas = Canvas(image.shape[:2], vocabulary)
        labels = allowed_labels(vocabulary, candidates)
        labels = labels[labels >= vocabulary.offset]
        if not len(labels):
            return canvas.finish(vocabulary, labels, [])
        layers = self._extractor.layers(image)
        with stage("match"):
            blocks = self._extractor.blocks(layers)
            maps = [
                similarity(
                    blocks, self._embeddings[label - vocabulary.offset], self._extractor.weights
                )
                for label in labels.tolist()
            ]
        with stage("sam_encode"):
            asker = Asker(self._sam, image, settings)
        for label, similarities in zip(labels.tolist(), maps, strict=True):
            with stage("points"):
                prompt = point_prompt(similarities.cpu().numpy(), settings, asker.frame, self._seed)
            with stage("sam"):
                mask, iou = asker.ask(prompt)
            by_iou = settings.overlap == "sam_iou"
            canvas.paint(mask, label, iou if by_iou else similarity_in(mask, similarities))
        with stage("label"):
            return canvas.finish(vocabulary, labels, maps)

    @torch.no_grad()
    def _read(self, exemplar: Exemplar) -> Prompt:
        layers = self._extractor.layers(exemplar.image)
        with stage("prompt_mask"):
            found = find_object(exemplar, layers[-1], self.settings, self._saliency)
        return pooled(self._extractor.blocks(layers), found.places), found.taken

    def _embedding(self, query: ClassQuery) -> tuple[Tensor, ...]:
        return mean_of([self._prompts[exemplar.sha256][0] for exemplar in query.exemplars])

    def _surprises(self) -> list[str]:
        """Prompts in which the object was found by another rule than asked for."""
        said = []
        for query in self._vocabulary.classes:
            for exemplar in query.exemplars:
                taken = self._prompts[exemplar.sha256][1]
                if taken != self.settings.prompt_mask:
                    said.append(f"a picture of {query.name}: {HOW[taken]}")
        return said
