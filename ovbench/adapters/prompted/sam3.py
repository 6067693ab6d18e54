"""SAM 3, asked for every class by its name; what it finds of each competes pixel by pixel.

Carion et al., "SAM 3: Segment Anything with Concepts" (2025), has no rule for this. The default is
that of SegEarth-OV3 (Li et al., arXiv:2512.08730; github.com/earth-insights/SegEarth-OV-3);
:mod:`ovbench.adapters.prompted.activesam` has other settings of the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ovbench.adapters.parts.candidates import allowed_labels, pairs
from ovbench.adapters.parts.published import eight
from ovbench.adapters.prompted.fusion import AT_A_TIME, Ranking, enlarged, fused
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import SIDE, setting
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.pixels.inputs import input_tensor
from ovbench.models.prompted.names import spoken
from ovbench.models.prompted.sam3 import SAM3, ConceptMasks, load_sam3, neighbours

_HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Sam3Settings:
    """Settings of :class:`Sam3Method`."""

    weights: str = setting(
        "sam3",
        "SegEarth-OV3 and ActiveSAM, READMEs",
        "of the catalogue, a hub id owner/name[@revision], or random",
        picks="sam3/{weights}",
    )
    confidence: float = setting(
        0.5,
        "SegEarth-OV3, confidence_threshold: 0.5 unless a benchmark says otherwise",
        "an instance counts if the product of its score and of the presence is higher",
        least=0,
        most=1,
    )
    instances: bool = setting(
        True, "SegEarth-OV3, use_transformer_decoder", "masks of single instances count"
    )
    semantic: bool = setting(
        True, "SegEarth-OV3, use_sem_seg", "the mask of the class as a whole counts"
    )
    presence_gate: bool = setting(
        True,
        "SegEarth-OV3, use_presence_score; instances have it in their scores already",
        "a class's score is multiplied by how sure it is that the picture shows the class",
    )
    background_below: float = setting(
        0.0,
        "SegEarth-OV3, prob_thd",
        "a pixel whose best score is lower is background",
        least=0,
        most=1,
    )
    background_rule: Literal["score", "margin"] = setting(
        "score",
        "SegEarth-OV3, predict; margin: ActiveSAM, activesam/background/mabc.py",
        "what background_below is compared with: the best score, or that times the root of its "
        "distance to the next",
    )
    margin_exponent: float = setting(
        1.25,
        "ActiveSAM, mabc_exponent",
        "of background_below, with background_rule=margin",
        least=0,
        most=1000,
    )
    names: Literal["given", "spoken"] = setting(
        "given",
        "SegEarth-OV3: names as they are; spoken: ActiveSAM, prompt_expansion/lexical.py",
        "ask by the names that are given, or as one would say them (brick wall for wallbrick)",
    )
    neighbours: int = setting(
        0,
        "SegEarth-OV3: none; ActiveSAM, neighbor_tokens=2",
        "words of the most similar other names that stand behind each prompt",
        most=64,
    )
    most_active: int = setting(
        0,
        "SegEarth-OV3 asks for all; ActiveSAM, pruner_max_active=40",
        "ask only for so many queries, those that a preview finds present; 0 asks for all, and so "
        "do vocabularies that are no larger",
        most=65536,
    )
    active_share: float = setting(
        0.2,
        "ActiveSAM, quantile_alpha=0.20",
        "share of the queries that a preview keeps, at most most_active",
    )
    preview_side: int = setting(
        672,
        "ActiveSAM, preview_resolution=672",
        "side of the preview's square in pixels, a multiple of the patch",
        most=SIDE,
    )
    prompts_at_a_time: int = setting(
        4,
        "our choice: SegEarth-OV3 has 1, ActiveSAM bucket_size=32; the answers are the same",
        "prompts that go through the network together; at 1008 pixels the masks of each take 66 MB",
        most=1024,
    )

    def __post_init__(self) -> None:
        if not (self.instances or self.semantic):
            raise ValueError("instances and semantic cannot both be false: nothing would count")
        if not 0 < self.active_share <= 1:
            raise ValueError("active_share must be above 0 and at most 1")
        for name in ("neighbours", "most_active"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        for name in ("prompts_at_a_time", "preview_side"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive")


class Sam3Method:
    """One prompt per query; the picture is encoded once."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="SAM 3: asked for every class by name, by SegEarth-OV3's rule",
        kind="mask-supervised",
        paper="Carion et al., arXiv",
        year=2025,
        backbones=("SAM 3",),
        weights=("sam3/sam3",),
        code_licence="none stated; SAM 3: SAM License",
    )
    Settings = Sam3Settings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "instances_only": {"semantic": False, "presence_gate": False},
        "semantic_only": {"instances": False, "presence_gate": False},
    }
    published: ClassVar[Sequence[Published]] = eight(
        names="segearth",
        source="SegEarth-OV3, released code, configs/cfg_*.py (87e5cc1)",
        voc21={"confidence": 0.5, "background_below": 0.4},
        context60={"confidence": 0.3, "background_below": 0.1},
        cocoobject={"confidence": 0.5, "background_below": 0.4},
        voc20={"confidence": 0.2},
        context59={"confidence": 0.3},
        cocostuff={"confidence": 0.2},
        ade20k={"confidence": 0.3},
        cityscapes={"confidence": 0.3},
    )

    def __init__(self, settings: Sam3Settings, runtime: Runtime) -> None:
        self.settings = settings
        self._model: SAM3 = load_sam3(settings.weights, runtime)
        if settings.most_active and settings.preview_side % self._model.patch:
            raise UsageError(
                f"preview_side={settings.preview_side} must be a multiple of {self._model.patch}"
            )
        self.checkpoints = self._model.checkpoints

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Read every query's words once."""
        self._vocabulary = vocabulary
        self._labels = vocabulary.query_labels
        texts = vocabulary.query_texts
        if self.settings.names == "spoken":
            texts = [spoken(text) for text in texts]
        self._short = self._model.read(texts)  # what a preview asks for, as released
        self._prompts = self._short
        if self.settings.neighbours and len(texts) > 1:
            words = neighbours(self._short, self.settings.neighbours)
            self._prompts = self._short.beside(self._model.as_tokens(words))

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`; images are seen one by one."""
        return [self._answer(image, chosen) for image, chosen in pairs(images, candidates)]

    def _answer(self, image: Image, candidates: Collection[int] | None) -> LabelMap:
        vocabulary = self._vocabulary
        allowed = np.flatnonzero(np.isin(self._labels, allowed_labels(vocabulary, candidates)))
        size = (image.shape[0], image.shape[1])
        if not len(allowed):  # no class is among the candidates
            return np.zeros(size, dtype=vocabulary.label_dtype)
        queries = torch.from_numpy(allowed).to(self._model.device)
        if 0 < self.settings.most_active < len(queries):
            queries = self._active(image, queries)
        with stage("encode"):
            picture = self._model.see(self._input(image, self._model.side))
        ranking = Ranking(size, int(self._labels[allowed].min()), self._model.device)
        for label, found in groupby(self._found(picture, queries, size), key=lambda one: one[0]):
            best: Tensor | None = None
            for _, scores in found:
                best = scores if best is None else torch.maximum(best, scores)
            if best is not None:
                ranking.add(label, best)
        margin = self.settings.background_rule == "margin"
        exponent = self.settings.margin_exponent if margin else None
        below = self.settings.background_below if vocabulary.background is not None else 0.0
        labels = ranking.labels(below, exponent)
        return labels.cpu().numpy().astype(vocabulary.label_dtype)

    def _found(
        self, picture: Any, queries: Tensor, size: tuple[int, int]
    ) -> Iterator[tuple[int, Tensor]]:
        """Labels and full-size scores ``(H, W)``, query after query, in the labels' order."""
        for some in torch.split(queries, self.settings.prompts_at_a_time):
            with stage("find"):
                found = self._model.find(picture, self._prompts[some])
            with stage("fuse"):
                for place, query in enumerate(some.tolist()):
                    scores = self._fused(found, place, size)
                    if scores is not None:
                        yield int(self._labels[query]), scores

    def _fused(self, found: ConceptMasks, place: int, size: tuple[int, int]) -> Tensor | None:
        settings, presence = self.settings, found.presence[place].sigmoid()
        scores = found.scores[place].sigmoid() * presence
        kept = torch.nonzero(scores > settings.confidence)[:, 0]
        chosen = torch.split(kept, AT_A_TIME) if settings.instances and len(kept) else ()
        return fused(
            ((enlarged(found.masks[place, some], size), scores[some]) for some in chosen),
            enlarged(found.semantic[place][None], size)[0] if settings.semantic else None,
            presence if settings.presence_gate else None,
        )

    def _active(self, image: Image, queries: Tensor) -> Tensor:
        """The queries that a small picture seems to show, in their order."""
        with stage("preview"):
            picture = self._model.see(self._input(image, self.settings.preview_side))
            some = torch.split(queries, self.settings.prompts_at_a_time)
            presence = torch.cat(
                [self._model.presence(picture, self._short[one]) for one in some]
            ).sigmoid()
        kept = presence >= presence.quantile(1 - self.settings.active_share)
        strongest = presence.masked_fill(~kept, -1).topk(
            min(self.settings.most_active, int(kept.sum()))
        )
        return queries[strongest.indices.sort().values]

    def _input(self, image: Image, side: int) -> Tensor:
        """The picture squashed to a square, ``(1, 3, S, S)``."""
        return input_tensor(
            image,
            (side, side),
            mean=_HALF,
            std=_HALF,
            mode="bilinear",
            device=self._model.device,
            whole_numbers=True,
        )[None]
