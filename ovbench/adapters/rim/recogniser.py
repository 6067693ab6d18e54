"""Recognises regions by what their class looks like in made pictures."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ovbench.adapters.rim.encoders import DenseEncoder
from ovbench.adapters.rim.matching import Ranking, by_cosine, by_relation
from ovbench.adapters.rim.pooling import masked_average
from ovbench.adapters.rim.references import PrototypeMaker, gallery
from ovbench.adapters.rim.settled import Settled
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.pixels.inputs import fit_size, input_tensor
from ovbench.models.pixels.labels import label_map
from ovbench.models.sam.promptable import PromptableSegmenter
from ovbench.support import SupportSets


class ReferenceRecogniser:
    """Compares features of regions, or of single locations, with references."""

    notes: tuple[str, ...] = ()

    def __init__(
        self,
        supports: SupportSets,
        encoder: DenseEncoder,
        sam: PromptableSegmenter | None,
        settings: Settled,
        runtime: Runtime,
    ) -> None:
        """Take models that are loaded, and where pictures come from."""
        self._supports, self._encoder = supports, encoder
        self._settings, self._runtime = settings, runtime
        self._maker = PrototypeMaker(settings, runtime, encoder, sam)

    @torch.no_grad()
    def prepare(self, vocabulary: Vocabulary) -> None:
        """Make the references of every query of the classes, and the background's."""
        queries = [
            (text, label) for text, label in vocabulary.queries if label >= vocabulary.offset
        ]
        names = list(dict.fromkeys(text for text, _ in queries))
        with stage("pictures"):
            sets = self._supports.make(names, self._settings.pictures)
        made = self._maker.make(sets)
        with stage("subcategories"):
            whole = {
                one.name: self._tensor(self._maker.pooled(found).mean(axis=0))
                for one, found in zip(sets, made, strict=True)
            }
            parts = {
                one.name: self._tensor(self._maker.parts(one, found))
                if self._settings.subcategories
                else whole[one.name][None]
                for one, found in zip(sets, made, strict=True)
            }
        self._vocabulary = vocabulary
        backgrounds = made[0].foreground[:0]
        if vocabulary.background and self._settings.background != "none":
            with stage("backgrounds"):
                backgrounds = self._maker.backgrounds(sets, made)
        self._gallery = gallery(
            [whole[text] for text, _ in queries],
            [parts[text] for text, _ in queries],
            [label for _, label in queries],
            self._tensor(backgrounds),
            background_is_agent=self._settings.background == "class",
        )
        self.notes = self._notes(len(names), sum(int(f.from_attention.sum()) for f in made))

    def _notes(self, names: int, empty: int) -> tuple[str, ...]:
        parts = len(self._gallery.references.parts)
        said = f"{names} names, {self._settings.pictures} pictures each, {parts} references"
        if empty:
            said += f"; SAM's mask was empty in {empty} pictures, whose attention map is used"
        return (said,)

    def recognise(
        self, image: Image, masks: npt.NDArray[np.bool_], allowed: npt.NDArray[np.intp]
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """The label of each region, ``(P,)``, and its score.

        Args:
            masks: ``(P, H, W)``.
            allowed: labels to answer with; at least one.
        """
        with stage("features"):
            regions = masked_average(self._features(image), torch.from_numpy(masks))
        with stage("matching"):
            labels, scores = self._match(regions, image, allowed)
            if not len(labels):  # the background alone is allowed, and it has no reference
                return np.zeros(len(masks), np.intp), np.zeros(len(masks), np.float32)
            best, reference = scores.max(dim=1)
            return labels[reference.cpu().numpy()], best.cpu().numpy()

    def classify_pixels(self, image: Image, allowed: npt.NDArray[np.intp]) -> LabelMap:
        """Every location by itself (paper, table 4, "none"); ``(H, W)``."""
        with stage("features"):
            grid = self._features(image)
        with stage("matching"):
            labels, scores = self._match(grid.flatten(1).mT, image, allowed)
            maps = scores.mT.reshape(len(labels), *grid.shape[1:])
        with stage("paint"):
            dtype = self._vocabulary.label_dtype
            return label_map(maps, labels, image.shape[:2], dtype=dtype)

    def _features(self, image: Image) -> Tensor:
        """``(D, h, w)`` float32."""
        settings, encoder = self._settings, self._encoder
        size = fit_size(
            image.shape[:2],
            short_side=settings.short_side,
            max_long_side=max(settings.max_long_side, encoder.cell),
            multiple=encoder.cell,
        )
        pixels = input_tensor(
            image,
            size,
            mean=encoder.model.mean,
            std=encoder.model.std,
            mode="bicubic",
            device=encoder.model.device,
        )
        return encoder.read(pixels[None])[0]

    def _match(
        self, regions: Tensor, image: Image, allowed: npt.NDArray[np.intp]
    ) -> tuple[npt.NDArray[np.intp], Tensor]:
        """The labels of the references in the race, ``(R,)``, and scores, ``(P, R)``."""
        references, labels = self._gallery.within(allowed)
        settings = self._settings
        # One agent has one ranking, by which no reference can be told from another.
        if settings.matching == "cosine" or int(references.agents.sum()) < 2:
            return labels, by_cosine(regions, references)
        ranking = Ranking(
            settings.agents,
            settings.agents_by,
            settings.positivity,
            settings.temperature,
            settings.winner,
        )
        generator = torch.Generator().manual_seed(_seed(self._runtime.seed, image))
        return labels, by_relation(regions, references, ranking, generator)

    def _tensor(self, array: npt.NDArray[np.float32]) -> Tensor:
        return torch.as_tensor(array, device=self._encoder.model.device)


def _seed(seed: int, image: Image) -> int:
    """Of one image's random agents, whatever is in its batch."""
    digest = hashlib.sha256(f"{seed}".encode() + np.ascontiguousarray(image).tobytes()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
