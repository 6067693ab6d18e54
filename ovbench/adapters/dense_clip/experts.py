"""Templates that know a class: chosen by entropy on pictures without labels, and fused.

Benigmim et al., "FLOSS: Free Lunch in Open-vocabulary Semantic Segmentation", ICCV 2025; released
code: github.com/yasserben/FLOSS. It changes the texts of a method whose scores are cosines of
features, and nothing of its features.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

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
from ovbench.harness.files.json_files import parse
from ovbench.harness.files.regular import regular
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
_LEAST = 1e-10
"""Beside probabilities in a logarithm (mmseg/evaluation/metrics/entropy_metric.py)."""

Templates = npt.NDArray[np.intp]
"""Which templates know a class, by number, the best first."""


@dataclass(frozen=True)
class ExpertSettings(DenseCLIPSettings):
    """Settings of :class:`Experts`, beside those of the method whose features it takes."""

    experts: str = setting(
        "floss_naclip_cityscapes",
        "released code, rankings/: of a benchmark's training pictures, without their labels",
        "how well templates know classes: of the catalogue, random, or a folder of pictures, "
        "written as a path with a slash, on which that is found; toyworld is the packaged ones",
        picks="floss/{experts}",
    )
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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window_multiple != 1:
            raise ValueError("window_multiple must be 1: experts are fused pixel by pixel")


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
        self.text = normalize(each.mean(dim=0), dim=1)
        self._classes = np.unique(self._labels)
        self._experts = torch.stack(
            [
                normalize(each[torch.from_numpy(known).to(each.device)].mean(dim=0), dim=1)
                for known in self._chosen(each)
            ]
        )

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
        most, count = self.settings.experts_per_class, len(self._classes)
        if self._pictures is not None:
            return best(*self._weighed(self._pictures, each), most)
        if self._ranking is not None:
            if self.settings.prompts != "imagenet80":
                raise UsageError(
                    f"prompts={self.settings.prompts}: {self.settings.experts} ranks the templates "
                    "of imagenet80; take these, or a folder of pictures with --set experts=FOLDER/"
                )
            return ranked(self._ranking, count, len(each), most)
        drawn = np.random.default_rng(self._runtime.seed)
        return [drawn.permutation(len(each))[:most] for _ in range(count)]

    def _weighed(self, archive: Archive, each: Tensor) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Sums of entropies and numbers of pixels, ``(T, C)`` each, over all pictures.

        What a few pictures give is kept as soon as it is there.
        """
        numbers = range(min(archive.count, self.settings.pictures or archive.count))
        pieces = [numbers[i : i + TOGETHER] for i in range(0, len(numbers), TOGETHER)]
        runtime, settings = self._runtime, asdict(self.settings)
        for name in ("experts", "pictures", "experts_per_class"):
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
        found = []
        for texts in each:
            maps = torch.einsum("qd,ndhw->nqhw", texts, unit)
            cosines = layout.merge(maps, (image.shape[0], image.shape[1])).whole()
            likely = (cosines * self.settings.logit_scale).softmax(dim=0)
            found.append(entropies(likely, owners, len(self._classes)))
        sums, counts = (torch.stack(parts).cpu().numpy() for parts in zip(*found, strict=True))
        return sums, counts


def entropies(likely: Tensor, owners: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """How unsure pixels are, by the class that each is given.

    Args:
        likely: ``(Q, H, W)`` probabilities; a class has those of its strongest query.
        owners: ``(Q,)``, the class of each query.
        classes: how many.

    Returns:
        Sums of entropies ``(classes,)`` float64, in nats, and numbers of pixels ``(classes,)``.
    """
    flat = likely.flatten(1)
    if len(flat) != classes:
        flat = torch.stack([flat[owners == one].amax(dim=0) for one in range(classes)])
    given = flat.argmax(dim=0)
    unsure = -(flat * (flat + _LEAST).log()).sum(dim=0)
    sums = torch.bincount(given, weights=unsure.double(), minlength=classes)
    return sums, torch.bincount(given, minlength=classes)


def best(sums: npt.NDArray[Any], counts: npt.NDArray[Any], most: int) -> list[Templates]:
    """Of every class the templates that are surest where they see it, from ``(T, C)`` each.

    A class that no template ever sees keeps all of them, which is our choice; the released code
    stops there.
    """
    mean = sums / np.maximum(counts, 1)
    chosen = []
    for entropy, seen in zip(mean.T, counts.T > 0, strict=True):
        order = np.argsort(entropy, kind="stable")
        known = order[seen[order]][:most]
        chosen.append(known if len(known) else order)
    return chosen


def ranked(file: Path, classes: int, templates: int, most: int) -> list[Templates]:
    """What the authors' file says of every class, in the benchmark's order.

    Raises:
        UsageError: no such file of theirs, or of another number of classes.
    """
    try:
        rows: Mapping[str, Any] = parse(regular(file).read_bytes())["classes"]
        found = [
            [int(one["template_id"]) for one in row["entropy_ranking"] if one["pixel_percentage"]]
            for row in rows.values()
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise UsageError(f"{file}: is no ranking of templates ({reason}); delete it and run again"
                         ) from None  # fmt: skip
    if len(found) != classes:
        raise UsageError(
            f"{file}: ranks templates of {len(found)} classes, and the vocabulary has {classes}; "
            "take the names it was made for with --preset published, or a folder of pictures with "
            "--set experts=FOLDER/"
        )
    if any(not 0 <= one < templates for row in found for one in row):
        raise UsageError(f"{file}: ranks templates beyond the {templates} there are")
    return [np.array(row[:most] or range(templates), np.intp) for row in found]


def fuse(experts: Tensor, default: Tensor, owners: Tensor, size: tuple[int, int]) -> Tensor:
    """One set of probabilities of all experts: at every pixel, that of one who finds its own class.

    Of several the surest, and where there is none the default. As the released code's
    ``expert_fusion``, after all are enlarged. One whose class is nowhere the most probable at any
    place cannot win between places either, if one other class is always before it, and is not
    enlarged.

    Args:
        experts: ``(C, Q, h, w)`` probabilities over queries.
        default: ``(Q, h, w)``, by all templates.
        owners: ``(Q,)``, the expert whose class each query is of.
        size: height and width of the result.

    Returns:
        ``(Q, *size)``.
    """

    def enlarged(maps: Tensor) -> Tensor:
        return interpolate(maps[None], size, mode="bilinear")[0]

    found = enlarged(default)
    surest = found.new_full(size, -1.0)
    for number, likely in enumerate(experts):
        own = owners == number
        ahead = likely[~own] - likely[own].amax(dim=0)
        if len(ahead) and bool((ahead.flatten(1).amin(dim=1) > 0).any()):
            continue
        whole = enlarged(likely)
        sure, query = whole.max(dim=0)
        wins = own[query] & (sure > surest)
        surest = torch.where(wins, sure, surest)
        found = torch.where(wins, whole, found)
    return found
