"""Florence-2 writes where every class is, as polygons, or as boxes in which SAM draws.

Xiao et al., "Florence-2: Advancing a Unified Representation for a Variety of Vision Tasks", CVPR
2024; weights and demo: huggingface.co/microsoft/Florence-2-large. An answer has no probability, and
there is one for a class that is absent, too: how answers share a picture is our choice.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as Picture
from PIL import ImageDraw

from ovbench.adapters.parts.candidates import allowed_labels, pairs
from ovbench.adapters.prompted.painting import paint
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import setting
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.prompted.florence2 import Places, Task, load_florence2
from ovbench.models.sam.loading import load_promptable
from ovbench.models.sam.promptable import PromptableSegmenter

_DEMO = "sample_inference.ipynb of microsoft/Florence-2-large"
_TASKS: dict[str, Task] = {
    "polygons": "<REFERRING_EXPRESSION_SEGMENTATION>",
    "boxes": "<OPEN_VOCABULARY_DETECTION>",
}


@dataclass(frozen=True)
class Florence2Settings:
    """Settings of :class:`Florence2Method`."""

    weights: str = setting(
        "florence2_large",
        f"{_DEMO}; florence2_base is a third of its size",
        "of the catalogue, a hub id owner/name[@revision], or random",
        picks="florence2/{weights}",
    )
    answer: Literal["polygons", "boxes"] = setting(
        "polygons",
        "our choice: <REFERRING_EXPRESSION_SEGMENTATION>; boxes: <OPEN_VOCABULARY_DETECTION>",
        "what is asked for: outlines, or boxes in each of which SAM draws one mask",
    )
    sam: str = setting(
        "sam_vit_h",
        "Grounded SAM, grounded_sam_demo.py, sam_version",
        "with answer=boxes, which SAM or SAM 2 draws, of the catalogue, or random",
        picks="sam/{sam}",
    )
    beams: int = setting(
        3, f"{_DEMO}, num_beams", "of the search for the likeliest answer", least=1, most=64
    )
    most_tokens: int = setting(
        1024,
        f"{_DEMO}, max_new_tokens",
        "of an answer; a point takes two, a box four",
        least=1,
        most=1024,
    )
    texts_at_a_time: int = setting(
        16,
        "our choice: the answers are the same",
        "texts that go through the network together",
        least=1,
        most=1024,
    )


class Florence2Method:
    """One text per query; the smaller of two things that overlap is in front.

    Background is where nothing is painted. A vocabulary without background has the class of the
    largest thing there, and the first one if nothing was found at all.
    """

    card: ClassVar[MethodCard] = MethodCard(
        summary="Florence-2: a language model that writes outlines or boxes of what it is told",
        kind="mask-supervised",
        paper="Xiao et al., CVPR",
        year=2024,
        backbones=("Florence-2", "SAM"),
        weights=("florence2/florence2_large",),
        code_licence="mit",
    )
    Settings = Florence2Settings

    def __init__(self, settings: Florence2Settings, runtime: Runtime) -> None:
        self.settings = settings
        self._model = load_florence2(settings.weights, runtime)
        self.checkpoints = self._model.checkpoints
        self._sam: PromptableSegmenter | None = None
        if settings.answer == "boxes":
            self._sam = load_promptable(settings.sam, runtime)
            self.checkpoints += self._sam.checkpoints

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Remember the queries; background's are not asked."""
        self._vocabulary = vocabulary
        asked = vocabulary.query_labels >= vocabulary.offset
        self._labels = vocabulary.query_labels[asked]
        self._texts = [t for t, one in zip(vocabulary.query_texts, asked, strict=True) if one]

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`; images are seen one by one."""
        return [self._answer(image, chosen) for image, chosen in pairs(images, candidates)]

    def _answer(self, image: Image, candidates: Collection[int] | None) -> LabelMap:
        vocabulary = self._vocabulary
        size = (image.shape[0], image.shape[1])
        allowed = allowed_labels(vocabulary, candidates)
        asked = np.flatnonzero(np.isin(self._labels, allowed))
        found = self._ask(image, [self._texts[i] for i in asked])
        draw = self._outlines if self._sam is None else self._drawn
        return draw(image, found, self._labels[asked], np.full(size, allowed[0]))

    def _ask(self, image: Image, texts: Sequence[str]) -> list[Places]:
        settings = self.settings
        if not texts:
            return []
        with stage("encode"):
            picture = self._model.see(image)
        found: list[Places] = []
        with stage("write"):
            for first in range(0, len(texts), settings.texts_at_a_time):
                found += self._model.ask(
                    picture,
                    _TASKS[settings.answer],
                    texts[first : first + settings.texts_at_a_time],
                    (image.shape[0], image.shape[1]),
                    beams=settings.beams,
                    most_tokens=settings.most_tokens,
                )
        return found

    def _outlines(
        self,
        image: Image,
        found: Sequence[Places],
        labels: npt.NDArray[np.integer],
        answer: npt.NDArray[np.integer],
    ) -> LabelMap:
        """Each query's polygons are one mask."""
        with stage("draw"):
            masks = [filled(places.polygons, answer.shape) for places in found]
            order = larger_first([int(mask.sum()) for mask in masks])
            self._fill_behind(answer, labels, order)
            for index in order:
                answer[masks[index]] = labels[index]
        return answer.astype(self._vocabulary.label_dtype)

    def _drawn(
        self,
        image: Image,
        found: Sequence[Places],
        labels: npt.NDArray[np.integer],
        answer: npt.NDArray[np.integer],
    ) -> LabelMap:
        """Each box is a mask of its own."""
        assert self._sam is not None
        boxes = np.concatenate([np.empty((0, 4)), *(places.boxes for places in found)])
        named = np.repeat(labels[: len(found)], [len(places.boxes) for places in found])
        extent = (boxes[:, 2:] - boxes[:, :2]).clip(0)
        order = larger_first(extent.prod(axis=1).tolist())
        self._fill_behind(answer, named, order)
        done = answer.astype(self._vocabulary.label_dtype)
        paint(self._sam, image, torch.from_numpy(boxes[order]).float(), named[order], done)
        return done

    def _fill_behind(
        self,
        answer: npt.NDArray[np.integer],
        labels: npt.NDArray[np.integer],
        order: Sequence[int],
    ) -> None:
        if self._vocabulary.background is None and len(order):
            answer[:] = labels[order[0]]


def filled(
    polygons: Sequence[npt.NDArray[np.int64]], size: tuple[int, ...]
) -> npt.NDArray[np.bool_]:
    """The pixels in any of some polygons, borders too, as the demo's pictures show them.

    Args:
        polygons: each ``(k, 2)``, x and y in pixels.
        size: height and width.

    Returns:
        ``(H, W)``.
    """
    canvas = Picture.new("1", (size[1], size[0]))
    for polygon in polygons:
        ImageDraw.Draw(canvas).polygon(polygon.ravel().tolist(), fill=1)
    return np.array(canvas)


def larger_first(areas: Sequence[float]) -> list[int]:
    """Which are painted, by index, in descending order of area; what has none is not."""
    return [i for i in sorted(range(len(areas)), key=lambda i: -areas[i]) if areas[i] > 0]
