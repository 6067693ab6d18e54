"""Templates that know a class: chosen by entropy on pictures without labels, and fused.

Benigmim et al., "FLOSS: Free Lunch in Open-vocabulary Semantic Segmentation", ICCV 2025; released
code: github.com/yasserben/FLOSS. It changes the texts of a method whose scores are cosines of
features, and nothing of its features.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ovbench.adapters.dense_clip.floss.choosing import (
    Templates,
    best,
    entropies,
    fuse,
    ranked,
)
from ovbench.adapters.parts.candidates import allowed_labels, pairs
from ovbench.adapters.parts.dense_clip import DenseCLIP, DenseCLIPSettings
from ovbench.adapters.parts.templates import templates
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import MANY, setting
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.files.cache import remembered_in_turn
from ovbench.harness.files.home import at_home
from ovbench.models.pictures import Archive, archive_in, packed_archive
from ovbench.models.pixels.scores import Scores
from ovbench.models.pixels.windows import Windows
from ovbench.models.weights.checkpoints import locate, packaged
from ovbench.models.weights.content import surroundings
from ovbench.models.weights.untrained import untrained

ROLE = "floss"
PACKAGED = "toyworld"
"""The name of the pictures that come with the package, which are rendered."""
TOGETHER = 8
"""Pictures whose entropies are kept together: who is killed has lost those of no more."""

RANKINGS = "released code, rankings/: of a benchmark's training pictures, without their labels"
WHOSE_EXPERTS = (
    "how well templates know classes: of the catalogue, random, or a folder of pictures, "
    "written as a path with a slash, on which that is found; toyworld is the packaged ones"
)


@dataclass(frozen=True)
class ExpertSettings(DenseCLIPSettings):
    """Settings of :class:`Experts`, beside those of the method whose features it takes."""

    NO_MARGINS: ClassVar[str] = "experts are fused pixel by pixel"

    experts: str = setting(PACKAGED, RANKINGS, WHOSE_EXPERTS, picks="floss/{experts}")
    pictures: int = setting(
        0,
        "released code: all of them",
        "of a folder, so many are looked at, in the order of their names; 0 is all",
        least=0,
        most=MANY,
    )
    experts_per_class: int = setting(
        4, "paper, section 4; released code, top_n", "templates that are averaged for a class",
        least=1, most=MANY,
    )  # fmt: skip
    unit_texts: bool = setting(
        True,
        "released code: naclip.py; maskclip.py leaves means as they are",
        "give every average of templates unit length",
    )
    average: Literal["cosines", "probabilities"] = setting(
        "cosines",
        "released code: naclip.py, compute_metric; maskclip.py has probabilities",
        "what is averaged over windows where templates are weighed on pictures",
    )


class Experts(DenseCLIP):
    """Every class asks by the templates that know it; who finds its own class is believed."""

    settings: ExpertSettings

    def __init__(self, settings: ExpertSettings, runtime: Runtime) -> None:
        super().__init__(settings, runtime)
        self._runtime = runtime
        name = settings.experts
        self._pictures: Archive | None = None
        self._ranking: Path | None = None
        if "/" in name:
            self._pictures = archive_in(at_home(name))
        elif name == PACKAGED:
            located = packaged("reco")
            self._pictures = packed_archive(located.path / "pictures.safetensors", located.records)
        elif not untrained(name, runtime):
            located = locate(ROLE, name, runtime)
            self._ranking = located.path
            self.checkpoints += located.records
        if self._pictures is not None:
            self.checkpoints += self._pictures.records

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Embed every query by every template, and choose templates for every class."""
        self.vocabulary = vocabulary
        self._labels = vocabulary.query_labels
        texts, asked = vocabulary.query_texts, templates(self.settings.prompts)
        prompts = [one.format(text) for one in asked for text in texts]  # one call: many at a time
        each = self.clip.embed_queries(prompts, ("{}",)).reshape(len(asked), len(texts), -1)
        self.text = self._averaged(each)
        self._classes = np.unique(self._labels)
        self._experts = torch.stack(
            [
                self._averaged(each[torch.from_numpy(known).to(each.device)])
                for known in self._chosen(each)
            ]
        )

    def _averaged(self, texts: Tensor) -> Tensor:
        """One text ``(Q, d)`` of those by several templates ``(T, Q, d)``."""
        mean = texts.mean(dim=0)
        return normalize(mean, dim=1) if self.settings.unit_texts else mean

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`; windows as in any method of the family."""
        with stage("preprocess"):
            inputs = [self._input(image) for image in images]
            layouts = [self._windows(one) for one in inputs]
        found = self._by_window(inputs, layouts, self.features)
        answers = []
        for i, (image, chosen) in enumerate(pairs(images, candidates)):
            allowed = np.isin(self._labels, allowed_labels(self.vocabulary, chosen))
            with stage("match"):
                maps = self._fused(normalize(found[i], dim=1), allowed, layouts[i])
            scores = Scores.enlarged(maps, (image.shape[0], image.shape[1]))
            answers.append(self._answer(scores, inputs[i], chosen))
        return answers

    def _fused(self, features: Tensor, allowed: npt.NDArray[np.bool_], layout: Windows) -> Tensor:
        """Probabilities ``(Q, H', W')`` over an input; of those that are not allowed nothing."""
        queries = torch.from_numpy(np.flatnonzero(allowed)).to(features.device)
        whole = features.new_zeros(len(allowed), layout.rows.side, layout.columns.side)
        if not len(queries):
            return whole
        labels, scale = self._labels[allowed], self.settings.logit_scale
        classes = [i for i, label in enumerate(self._classes) if label in labels]
        texts = torch.cat([self._experts[classes], self.text[None]])[:, queries]
        owners = torch.from_numpy(np.searchsorted(self._classes[classes], labels))
        size = layout.rows.length, layout.columns.length

        def fused(window: Tensor) -> Tensor:
            cosines = torch.einsum("eqd,dhw->eqhw", texts, window)
            likely = (cosines * scale).softmax(dim=1)
            return fuse(likely[:-1], likely[-1], owners.to(likely.device), size)

        whole[queries] = layout.average(fused(window) for window in features)
        return whole

    def _chosen(self, each: Tensor) -> list[Templates]:
        """Of every class the templates that know it."""
        most = self.settings.experts_per_class
        if self._pictures is not None:
            return best(*self._weighed(self._pictures, each), most)
        if self._ranking is not None:
            if self.settings.prompts != "imagenet80":
                raise UsageError(
                    f"prompts={self.settings.prompts}: {self.settings.experts} ranks the templates "
                    "of imagenet80; take these, or a folder of pictures with --set experts=FOLDER/"
                )
            names, texts = self.vocabulary.names, self.vocabulary.queries
            classes = [
                (names[label], *(text for text, of in texts if of == label))
                for label in self._classes
            ]
            return ranked(self._ranking, classes, len(each), most)
        drawn = np.random.default_rng(self._runtime.seed)
        return [drawn.permutation(len(each))[:most] for _ in self._classes]

    def _weighed(self, archive: Archive, each: Tensor) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Sums of entropies and numbers of pixels, ``(T, C)`` each, over all pictures.

        What a few pictures give is kept as soon as it is there.
        """
        numbers = range(min(archive.count, self.settings.pictures or archive.count))
        pieces = [numbers[i : i + TOGETHER] for i in range(0, len(numbers), TOGETHER)]
        runtime, settings = self._runtime, asdict(self.settings)
        for name in ("experts", "pictures", "experts_per_class", "unit_texts"):
            del settings[name]  # of no matter to one picture's entropies
        same: dict[str, Any] = {
            "method": type(self).__name__,
            "settings": settings,
            "models": [asdict(record) for record in self.checkpoints],
            "queries": list(self.vocabulary.query_texts),
            "labels": self._labels.tolist(),
            "precision": runtime.precision,
            "seed": runtime.seed if any(r.sha256 is None for r in self.checkpoints) else None,
            **surroundings(each.device),
        }

        def build(piece: int) -> dict[str, npt.NDArray[Any]]:
            found = [self._entropies(archive.read(number), each) for number in pieces[piece]]
            sums, counts = (np.sum(parts, axis=0) for parts in zip(*found, strict=True))
            return {"sums": sums, "counts": counts}

        keys = [{**same, "pictures": [piece.start, piece.stop]} for piece in pieces]
        sizes = [len(piece) for piece in pieces]
        kept = remembered_in_turn(ROLE, keys, build, title="pictures weighed", sizes=sizes)
        return sum(one["sums"] for one in kept), sum(one["counts"] for one in kept)  # type: ignore[return-value]

    @torch.inference_mode()
    def _entropies(
        self, image: Image, each: Tensor
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Of one picture, by every template's texts ``(T, Q, d)``; see :func:`entropies`."""
        pixels = self._input(image)
        layout = self._windows(pixels)
        (features,) = self._by_window([pixels], [layout], self.features)
        unit = normalize(features, dim=1)
        owners = torch.from_numpy(np.searchsorted(self._classes, self._labels)).to(unit.device)
        scale, size = self.settings.logit_scale, (image.shape[0], image.shape[1])
        found = []
        for texts in each:
            maps = torch.einsum("qd,ndhw->nqhw", texts, unit) * scale
            if self.settings.average == "probabilities":
                likely = layout.merge(maps.softmax(dim=1), size).whole()
            else:
                likely = layout.merge(maps, size).whole().softmax(dim=0)
            found.append(entropies(likely, owners, len(self._classes)))
        sums, counts = (torch.stack(parts).cpu().numpy() for parts in zip(*found, strict=True))
        return sums, counts
