"""OVDiff: a class is what Stable Diffusion makes of its name.

Karazija, Laina, Vedaldi and Rupprecht, "Diffusion Models for Open-Vocabulary Segmentation",
ECCV 2024. Pictures of every class are made, and features of the class and of what surrounds it
taken from them; a pixel belongs to what it looks like. Nothing is trained.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ovbench.adapters.ovdiff.bank import Bank, assemble
from ovbench.adapters.ovdiff.category_filter import CategoryFilter
from ovbench.adapters.ovdiff.explaining import (
    Winner,
    described,
    exhibits,
    holds,
    nearest_prototype,
    vector_at,
    working_place,
)
from ovbench.adapters.ovdiff.extractors import Loader
from ovbench.adapters.ovdiff.matching import nearest_similarity
from ovbench.adapters.ovdiff.proposals import MaskCutMasks, MaskSource, SamMasks
from ovbench.adapters.ovdiff.representation import REGIONS, Region, Representer
from ovbench.adapters.ovdiff.settings import PRESETS, ExtractorName, OVDiffSettings
from ovbench.adapters.ovdiff.settled import settle
from ovbench.adapters.ovdiff.stuff import is_stuff
from ovbench.adapters.ovdiff.windows import (
    StrongestSoFar,
    Window,
    assembled,
    by_size,
    enlarged,
    resized,
    windows_of,
)
from ovbench.adapters.parts.candidates import allowed_labels, pairs
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.explaining import Evidence, Explanation
from ovbench.harness.contract.progress import Advance, progress
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.clip.model import load_clip
from ovbench.models.diffusion.attention import AttributionRule
from ovbench.models.diffusion.sampling import Sampling
from ovbench.refine.pamr import pamr
from ovbench.support import Recipe, SupportSets

_TOGETHER = 4
"""Windows encoded together: of Stable Diffusion's features each takes 126 MB."""

_PLANE_BYTES = 32 * 2**20
"""Full-size scores that exist at a time."""


class OVDiff:
    """Prototypes of generated pictures, compared with every place of an image."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="OVDiff: prototypes of pictures made of each class's name",
        kind="training-free",
        paper="Karazija et al., ECCV",
        year=2024,
        backbones=("Stable Diffusion", "DINO", "CLIP"),
        weights=(
            "stable_diffusion/stable_diffusion_v1_5",
            "dino/dino_vitb8",
            "clip/ViT-B-16 openai",
        ),
        code_licence="none stated",
    )
    Settings = OVDiffSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    def __init__(self, settings: OVDiffSettings, runtime: Runtime) -> None:
        """Load what looks at images; what makes and cuts support pictures only when needed.

        Raises:
            UsageError: weights that cannot be had, or settings that do not go with them.
        """
        self._device = torch.device(runtime.device)
        needs_clip = settings.category_filter or "clip" in settings.extractors
        self._clip = (
            load_clip(settings.clip_architecture, settings.clip_pretrained, runtime)
            if needs_clip
            else None
        )
        loader = Loader(settings, runtime, self._clip)
        self._extractors = {name: loader.load(name) for name in settings.extractors}
        self.settings = settle(settings, self._extractors)
        proposer = _proposer(settings, runtime)
        self._supports = SupportSets(self.recipe(settings, runtime.seed), runtime)
        self._representer = Representer(
            self.settings, self._extractors, proposer, runtime.precision
        )
        used: list[CheckpointRecord] = [*self._supports.checkpoints]
        for extractor in self._extractors.values():
            used += extractor.checkpoints
        used += [] if proposer is None else proposer.checkpoints
        used += [] if self._clip is None else [self._clip.checkpoint]
        self.checkpoints = tuple(dict.fromkeys(used))

    @staticmethod
    def recipe(settings: OVDiffSettings, seed: int) -> Recipe:
        """What decides the support pictures."""
        released = settings.picture_rule == "released_code"
        return Recipe(
            settings.generator,
            settings.prompt,
            settings.negative_prompt,
            Sampling(
                settings.solver,
                settings.steps,
                settings.guidance,
                levels="truncated" if released else "rounded",
            ),
            AttributionRule(each_step=settings.attribution_rule == "released_code"),
            seed,
            "shared" if released else "own",
        )

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Make the support pictures, their masks and prototypes, or take what was made before."""
        settings = self.settings
        queries = [(text, i) for i, one in enumerate(vocabulary.classes) for text in one.queries]
        self._vocabulary = vocabulary
        self._stuff = [is_stuff(query, settings.stuff) for query in vocabulary.classes]
        with stage("support"):
            self._sets = self._supports.make([text for text, _ in queries], settings.pictures)
        owners = [owner for _, owner in queries]
        count = len(queries) * len(self._extractors)
        with stage("prototypes"), progress("prototypes", count) as advance:
            self._banks = {name: self._bank(name, owners, advance) for name in self._extractors}
        self._filter = None
        if self._clip is not None and settings.category_filter:
            self._filter = CategoryFilter(
                self._clip, vocabulary.classes, settings.filter_most, settings.filter_rule
            )
        self.notes = (self._summary(),)

    def _bank(self, name: ExtractorName, owners: Sequence[int], advance: Advance) -> Bank:
        """The prototypes of the vocabulary in one feature space; ``owners`` per support set."""
        made = []
        for support in self._sets:
            made.append(self._representer.prototypes(support, name))
            advance(1)
        regions = REGIONS if self._has_background_row else REGIONS[:1]
        return assemble(made, owners, self._stuff, self.settings, regions, self._device)

    def _summary(self) -> str:
        counts = [
            sum(len(one.vectors) for one in bank.sets.values()) for bank in self._banks.values()
        ]
        dropped = sum(bank.dropped for bank in self._banks.values())
        return (
            f"{len(self._sets)} support sets of {self.settings.pictures} pictures, "
            f"{sum(counts)} prototypes; {dropped} of things' backgrounds left out as stuff"
        )

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`. Images are read one by one."""
        return [self._segment(image, chosen) for image, chosen in pairs(images, candidates)]

    def _segment(self, image: Image, candidates: Collection[int] | None) -> LabelMap:
        labels = allowed_labels(self._vocabulary, candidates) - self._vocabulary.offset
        classes = labels[labels >= 0].tolist()
        if self._filter:
            with stage("filter"):
                classes = self._filtered(image, classes)
        return self._among(image, classes)

    def _among(self, image: Image, classes: Sequence[int]) -> LabelMap:
        """The answer of some classes and the background."""
        size = (image.shape[0], image.shape[1])
        if not classes:
            return np.zeros(size, self._vocabulary.label_dtype)
        with stage("preprocess"):
            working, windows = self._read(image)
        scores = self._scores(working, windows, classes)
        with stage("upsample"):
            return self._answer(scores, windows, working, classes, size)

    def _read(self, image: Image) -> tuple[Image, list[Window]]:
        """The image in its working size, and its windows."""
        settings = self.settings
        working = self._working(image)
        size = (working.shape[0], working.shape[1])
        whole = settings.whole_image
        return working, windows_of(size, settings.windows, settings.stride, whole=whole)

    def _working(self, image: Image) -> Image:
        return resized(image, self.settings.short_side, self.settings.max_long_side)

    @torch.inference_mode()
    def explain(self, image: Image, x: int, y: int) -> Explanation:
        """See :class:`~ovbench.harness.contract.explaining.Explaining`.

        Per feature space, the prototype of the answered label that is nearest to the pixel in
        any of the windows that hold it.
        """
        classes = list(range(len(self._vocabulary.classes)))
        if self._filter:
            classes = self._filtered(image, classes)
        label = int(self._among(image, classes)[y, x])
        region: Region = "foreground"
        if label >= self._vocabulary.offset:
            classes = [label - self._vocabulary.offset]
        elif self._has_background_row:
            region = "background"
        working, windows = self._read(image)
        place = working_place((y, x), image.shape, working.shape)
        around = [window for window in windows if holds(window, place)]
        winners: dict[ExtractorName, Winner] = {}
        for members, name, features in self._features(working, around):
            for index, feature in zip(members, features, strict=True):
                vector = vector_at(feature, around[index], place)
                found = nearest_prototype(vector, self._banks[name].sets[region], classes)
                if found:
                    winners[name] = max(found, winners.get(name, found))
        evidence = [self._evidence(name, region, winner) for name, winner in winners.items()]
        return Explanation(label, tuple(sorted(evidence, key=lambda one: -one.similarity)))

    def _evidence(self, name: ExtractorName, region: Region, winner: Winner) -> Evidence:
        origin = self._banks[name].origins[region][winner.row]
        support = self._sets[origin.query]
        prototypes = self._representer.prototypes(support, name)[region]
        return Evidence(
            name,
            f"{described(prototypes, origin.row)} of the {region} of {support.name!r}",
            winner.similarity,
            exhibits(support.images, prototypes.places(origin.row)),
        )

    def _filtered(self, image: Image, classes: Sequence[int]) -> list[int]:
        """The classes that CLIP finds, and stuff, which it is not asked for."""
        assert self._filter is not None
        asked = [i for i in classes if self.settings.filter_stuff or not self._stuff[i]]
        if self.settings.filter_rule == "released_code":
            image = self._working(image)
        found = self._filter.choose(image, asked) if asked else ()
        return sorted({*classes} - {*asked} | {*found})

    def _scores(
        self, working: Image, windows: Sequence[Window], classes: Sequence[int]
    ) -> list[list[Tensor]]:
        """Per window and feature space ``(K, h, w)``; first background, if prototypes tell it."""
        scores: list[list[Tensor]] = [[] for _ in windows]
        for members, name, features in self._features(working, windows):
            bank = self._banks[name].sets
            with stage("match"):
                for index, feature in zip(members, features, strict=True):
                    found = nearest_similarity(feature, bank["foreground"], classes)
                    if self._has_background_row:
                        others = nearest_similarity(feature, bank["background"], classes)
                        found = torch.cat([others.amax(dim=0, keepdim=True), found])
                    scores[index].append(found)
        return scores

    def _features(
        self, working: Image, windows: Sequence[Window]
    ) -> Iterator[tuple[list[int], ExtractorName, Tensor]]:
        """Indices of windows, a feature space and the windows' features in it."""
        for members in by_size(windows, _TOGETHER):
            crops = [windows[i].cut(working) for i in members]
            for name, extractor in self._extractors.items():
                with stage("encode"):
                    features = extractor.features(crops, self.settings.short_side)
                yield members, name, features

    @property
    def _has_background_row(self) -> bool:
        prototypes = self.settings.background == "prototypes"
        return prototypes and self._vocabulary.background is not None

    def _answer(
        self,
        scores: Sequence[Sequence[Tensor]],
        windows: Sequence[Window],
        working: Image,
        classes: Sequence[int],
        size: tuple[int, int],
    ) -> LabelMap:
        """The label of the highest score at every pixel; a few classes at a time."""
        small = (working.shape[0], working.shape[1])
        labels = self._labels(classes)
        step = max(1, _PLANE_BYTES // (4 * max(math.prod(small), math.prod(size))))
        strongest = StrongestSoFar(size, scores[0][0].device)
        for first in range(0, len(labels), step):
            some = [[one[first : first + step] for one in maps] for maps in scores]
            planes = self._refined(assembled(some, windows, small), working)
            strongest.add(enlarged(planes, size), first)
        row = strongest.row.cpu().numpy()
        answer: LabelMap = labels[row].astype(self._vocabulary.label_dtype)
        if self._vocabulary.background and not self._has_background_row:
            answer[(strongest.score < self.settings.background_threshold).cpu().numpy()] = 0
        return answer

    def _refined(self, planes: Tensor, working: Image) -> Tensor:
        """Scores ``(K, H, W)`` drawn to the edges in the image, if that is asked for."""
        settings = self.settings
        if not settings.pamr_iterations:
            return planes
        pixels = torch.tensor(working, device=planes.device).permute(2, 0, 1).float()
        with stage("pamr"):
            return pamr(
                pixels,
                planes,
                iterations=settings.pamr_iterations,
                dilations=settings.pamr_dilations,
            )

    def _labels(self, classes: Sequence[int]) -> npt.NDArray[np.intp]:
        """The label of every row of scores."""
        labels = np.array(classes, np.intp) + self._vocabulary.offset
        return np.append(0, labels) if self._has_background_row else labels


def _proposer(settings: OVDiffSettings, runtime: Runtime) -> MaskSource | None:
    if settings.proposals == "none" or settings.mask_rule == "whole":
        return None
    if settings.proposals == "maskcut":
        return MaskCutMasks(settings.dino_model, settings.maskcut_masks, runtime)
    return SamMasks(settings.sam_model, settings.sam_points, runtime)
