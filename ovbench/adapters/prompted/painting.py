"""From boxes that have names to a label map: SAM draws what is in each, the surest one last.

No paper of the detectors has a rule for this; painting in ascending order of score is our choice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ovbench.adapters.parts.candidates import allowed_labels, pairs
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.settings import setting
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.prompted.boxes import Boxes
from ovbench.models.sam.promptable import PromptableSegmenter

AT_A_TIME = 16
"""Masks at full size together; at 1024 x 2048 pixels their logits take 134 MB."""


@dataclass(frozen=True)
class PaintingSettings:
    """Settings of :class:`Painting`."""

    sam: str = setting(
        "sam_vit_h",
        "Grounded SAM, grounded_sam_demo.py, sam_version",
        "which SAM or SAM 2 draws, of the catalogue, SAM 2's hub id, or random",
        picks="sam/{sam}",
    )
    most_boxes: int = setting(
        100, "our choice: what COCO's measure of boxes takes", "boxes that are drawn", most=4096
    )
    box_above: float = setting(
        0.25,
        "transformers, post_process_grounded_object_detection",
        "a box is drawn if the probability of its best query is higher",
        least=0,
        most=1,
    )

    def __post_init__(self) -> None:
        if self.most_boxes < 1:
            raise ValueError("most_boxes must be positive")


class Painting(ABC):
    """What is common to all: background is where nothing is painted.

    A vocabulary without background has the class of the surest box there, drawn or not.
    """

    settings: PaintingSettings
    sam: PromptableSegmenter

    @abstractmethod
    def read(self, texts: Sequence[str]) -> None:
        """Prepare the queries of all classes."""

    @abstractmethod
    def find(self, image: Image, asked: npt.NDArray[np.intp]) -> Boxes:
        """Boxes with logits of some queries, by index."""

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Read every query of a class once; background's are not asked."""
        self._vocabulary = vocabulary
        asked = vocabulary.query_labels >= vocabulary.offset
        self._labels = vocabulary.query_labels[asked]
        self.read([text for text, one in zip(vocabulary.query_texts, asked, strict=True) if one])

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`; images are seen one by one."""
        return [self._answer(image, chosen) for image, chosen in pairs(images, candidates)]

    def _answer(self, image: Image, candidates: Collection[int] | None) -> LabelMap:
        vocabulary = self._vocabulary
        asked = np.flatnonzero(np.isin(self._labels, allowed_labels(vocabulary, candidates)))
        if not len(asked):  # no class is among the candidates
            return np.zeros(image.shape[:2], vocabulary.label_dtype)
        with stage("detect"):
            found = self.find(image, asked)
        scores, query = found.logits.sigmoid().max(dim=1)
        labels = self._labels[asked][query.cpu().numpy()]
        drawn = surest(scores, self.settings.box_above, self.settings.most_boxes)
        behind = vocabulary.background is not None
        elsewhere = 0 if behind else int(labels[int(scores.argmax())])
        answer = np.full(image.shape[:2], elsewhere, vocabulary.label_dtype)
        paint(self.sam, image, found.places[drawn], labels[drawn.cpu().numpy()], answer)
        return answer


def surest(scores: Tensor, above: float, most: int) -> Tensor:
    """Which boxes are drawn, by index, in ascending order of their scores ``(n,)``.

    Args:
        above: a box is drawn only if its score is higher.
        most: no more are drawn, the surest ones.
    """
    order = scores.argsort(stable=True)
    return order[scores[order] > above][-most:]


def paint(
    sam: PromptableSegmenter,
    image: Image,
    places: Tensor,
    labels: npt.NDArray[np.integer],
    answer: LabelMap,
) -> None:
    """Paint what SAM draws for boxes, one mask for each, over what is there.

    Args:
        places: ``(n, 4)``, left, top, right and bottom in pixels of the image.
        labels: ``(n,)``.
        answer: ``(H, W)``, which is changed.
    """
    if not len(places):
        return
    with stage("segment"):
        encoded = sam.encode(image)
    with stage("draw"):
        boxes = sam.to_input(places.cpu().numpy(), encoded).float().reshape(-1, 4)
        for first in range(0, len(boxes), AT_A_TIME):
            some = slice(first, first + AT_A_TIME)
            low_res = sam.decode_many(encoded, boxes=boxes[some], multimask=False).low_res
            masks = sam.upscale(low_res[:, None], encoded)[:, 0] > sam.mask_threshold
            for mask, label in zip(masks.cpu().numpy(), labels[some], strict=True):
                answer[mask] = label
