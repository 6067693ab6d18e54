"""Matcher: patches of a picture that match the shown object prompt SAM.

Liu et al., "Matcher: Segment Anything with One Shot Using All-Purpose Feature Matching" (ICLR
2024); released code: github.com/aim-uofa/Matcher. DINOv2 matches, SAM cuts out, and the masks
are ranked by how the matches lie in them. Nothing is trained.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.matcher.drawing import Points, cluster_centres, prompt_sets
from ovbench.adapters.matcher.grid import Grid
from ovbench.adapters.matcher.masks import Asking, Found, ask, without_doubles
from ovbench.adapters.matcher.matching import match_both_ways
from ovbench.adapters.matcher.ranking import choose, score_masks
from ovbench.adapters.matcher.references import (
    Reference,
    cell_features,
    reference_of,
    salient,
    squash,
)
from ovbench.adapters.matcher.settings import PRESETS, MatcherSettings, settle
from ovbench.adapters.parts.candidates import pairs
from ovbench.adapters.parts.exemplars import require_exemplars, require_masks
from ovbench.adapters.parts.joining import ClassMask, ask_each
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import ClassQuery, Exemplar, Vocabulary
from ovbench.models.patches.encoder import load_patch_encoder
from ovbench.models.patches.saliency import load_saliency
from ovbench.models.sam.loading import load_promptable
from ovbench.models.sam.promptable import EncodedImage


class Picture(NamedTuple):
    """A picture to answer, as both models see it.

    Attributes:
        encoded: by SAM, squashed.
        features: ``(N, d)``, unit features of its cells.
        grid: masks of prompts that no class decides, made once for all of them.
        size: its own height and width.
        seed: told from its pixels.
    """

    encoded: EncodedImage
    features: Tensor
    grid: Sequence[Found]
    size: tuple[int, int]
    seed: int


class Matcher:
    """Match, prompt, rank, join."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="Matcher: patches that match the shown object prompt SAM",
        kind="image-prompted",
        paper="Liu et al., ICLR",
        year=2024,
        backbones=("DINOv2", "SAM"),
        weights=("dinov2/dinov2_large", "sam/sam_vit_h"),
        code_licence="bsd-2-clause",
    )
    Settings = MatcherSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS
    needs_exemplars = True

    def __init__(self, settings: MatcherSettings, runtime: Runtime) -> None:
        """Load the weights.

        Raises:
            UsageError: weights that cannot be had, or settings that do not go with them.
        """
        self._seed = runtime.seed
        self._encoder = load_patch_encoder("dinov2", settings.encoder, runtime)
        self._sam = load_promptable(settings.sam, runtime)
        self._saliency = None
        if settings.reference == "saliency":
            self._saliency = load_saliency(settings.saliency, runtime)
        self.settings = settle(settings, self._encoder)
        self._grid = Grid(self._sam, self.settings, runtime)
        models = (self._encoder, self._sam, self._saliency)
        self.checkpoints = tuple(c for model in models if model for c in model.checkpoints)

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Encode every class's pictures.

        Raises:
            UsageError: a class has no picture, or a picture no mask where masks are asked for.
        """
        if self._saliency is None:
            require_masks(vocabulary, "matcher", "find it with --set reference=saliency")
        else:
            require_exemplars(vocabulary, "matcher")
        self._vocabulary = vocabulary
        self._references = [self._reference(query) for query in vocabulary.classes]

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`; images are computed one by one."""
        return [self._answer(image, chosen) for image, chosen in pairs(images, candidates)]

    def _reference(self, query: ClassQuery) -> Reference:
        masks = [self._where(exemplar) for exemplar in query.exemplars]
        return reference_of(query.exemplars, masks, self._encoder, self.settings.resolution)

    def _where(self, exemplar: Exemplar) -> npt.NDArray[np.bool_]:
        """The object's pixels; a mask that was given is not looked at where it is to be found."""
        if self._saliency is not None:
            return salient(self._saliency, exemplar.image, self.settings.saliency_threshold)
        assert exemplar.mask is not None  # as require_masks made sure
        return exemplar.mask

    def _answer(self, image: Image, candidates: Collection[int] | None) -> LabelMap:
        square = squash(image, self.settings.resolution)
        with stage("encode"):
            features = cell_features(self._encoder, square)
            encoded = self._grid.encode(square)
        grid = self._grid.masks(square)
        height, width, _ = image.shape
        seed = zlib.crc32(image.tobytes())
        picture = Picture(encoded, features, grid, (height, width), seed)
        look_for = partial(self._look_for, picture)
        return ask_each(look_for, self._vocabulary, candidates, picture.size)

    def _look_for(self, picture: Picture, index: int) -> ClassMask:
        settings, reference = self.settings, self._references[index]
        with stage("match"):
            similarity = (reference.features @ picture.features.mT).double().cpu().numpy()
            matches = match_both_ways(similarity, reference.inside)
        points = self._centres_of(matches.cells)
        with stage("cut out"):
            masks = self._masks(picture, points)
        with stage("rank"):
            cost = (1 - similarity[reference.inside]) / 2
            patch, cells = self._encoder.patch_size, settings.emd_cells
            scores = score_masks(cost, masks, points.astype(np.intp), patch, cells)
            chosen, score = choose(scores, settings)
        joined = torch.as_tensor(masks[chosen].any(axis=0))[None, None].float()
        at_full_size = functional.interpolate(joined, picture.size, mode="nearest")
        return ClassMask(at_full_size[0, 0].bool().numpy(), score)

    def _centres_of(self, cells: npt.NDArray[np.intp]) -> Points:
        """X and y of the middles of cells, in pixels of the squashed picture."""
        patch = self._encoder.patch_size
        rows, columns = np.divmod(cells, self.settings.resolution // patch)
        middles: Points = np.stack([columns, rows], axis=1) * patch + patch // 2
        return middles.astype(np.float64)

    def _masks(self, picture: Picture, points: Points) -> npt.NDArray[np.bool_]:
        """``(n, S, S)``, at least one."""
        settings, rng = self.settings, np.random.default_rng([self._seed, picture.seed])
        drawn_from = points
        if settings.prompts == "centres":
            drawn_from = cluster_centres(points, settings.centres, rng)
        asking = Asking(
            prompt_sets(drawn_from, settings.fewest, settings.most, settings.samples, rng),
            np.concatenate([points.min(axis=0), points.max(axis=0)]) if settings.box else None,
            settings.multimask,
            settings.pred_iou,
            settings.stability,
        )
        found = [ask(self._sam, picture.encoded, asking), *picture.grid]
        must_pass = found[:1] if settings.fallback == "no_prompt" else found
        if not sum(len(part.iou) for part in must_pass):
            found = [ask(self._sam, picture.encoded, asking.without_filters()).best()]
        return without_doubles(found, settings.nms)
