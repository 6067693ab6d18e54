"""From label maps to records, holding a method to its contract on the way."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from ovbench.errors import ContractError, OvbenchError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import Sample
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.stages import Measurement, peak_memory
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.metrics.boundary import boundary_areas
from ovbench.harness.metrics.resized import Foreground, foreground_at_sides
from ovbench.harness.metrics.scores import (
    Confusion,
    Unanswered,
    answered_only,
    areas,
    confusion,
    scores,
)
from ovbench.harness.results.records import Cost, ImageRecord

ClassChoice: TypeAlias = Literal["all", "oracle", "predicted"]
Candidates: TypeAlias = Sequence[Collection[int]] | None

UnansweredRule: TypeAlias = Literal["error", "miss", "ignore"]
"""What becomes of a scored pixel that a label file has no answer for: it is refused; the class of
the ground truth loses it (the evaluators of mmsegmentation, ADE20K, Cityscapes and MESS); or it is
left out (detectron2)."""

_WHERE: Mapping[UnansweredRule | None, Unanswered] = {
    None: "refuse",
    "error": "void",
    "miss": "miss",
    "ignore": "void",
}

# Images whose counts a running mIoU adds up at once: it is seldom asked for, and a matrix that
# nothing has touched since the last image is far away.
_WAITING = 256


@dataclass(frozen=True, slots=True)
class Counter:
    """Counts predictions against ground truth.

    Attributes:
        ignore_label: of the ground truth.
        classes: whether methods are told which classes an image holds, and by whom.
        unanswered: see :data:`UnansweredRule`; None for methods, which must answer everywhere.
    """

    vocabulary: Vocabulary
    ignore_label: int
    classes: ClassChoice
    unanswered: UnansweredRule | None = None

    def candidates(self, samples: Sequence[Sample]) -> Candidates:
        """What the oracle tells of each image: the classes of its ground truth."""
        if self.classes != "oracle":
            return None
        return [self._present(sample.label) for sample in samples]

    def count(
        self,
        samples: Sequence[Sample],
        maps: Sequence[LabelMap],
        candidates: Candidates,
        spent: Measurement,
        runtime: Runtime,
        *,
        wait_s: float = 0.0,
        warmup: bool = False,
    ) -> list[ImageRecord]:
        """One record per sample; the batch's time is shared evenly.

        Raises:
            ContractError: a map's number, type, size or values are wrong; names the image.
        """
        if len(maps) != len(samples):
            raise ContractError(f"{len(samples)} images were given, {len(maps)} maps came back")
        batch, memory = len(samples), peak_memory(runtime.device)
        records = []
        for position, (sample, prediction) in enumerate(zip(samples, maps, strict=True)):
            start = time.perf_counter()
            allowed = None if candidates is None else candidates[position]
            label = sample.label
            if self.unanswered == "ignore":
                label = answered_only(label, prediction, self.ignore_label)
            counted = self._confusion(sample.id, label, prediction, allowed)
            if label is not sample.label:
                # What is left out is not what the ground truth ignores.
                counted = replace(counted, void=None)
            edges = boundary_areas(label, prediction, len(self.vocabulary), self.ignore_label)
            resized = self._resized(sample, label, prediction)
            cost = Cost(
                wait_s=wait_s / batch,
                compute_s=spent.total_s / batch,
                evaluate_s=time.perf_counter() - start,
                stages_s={name: s / batch for name, s in spent.stages_s.items()},
                batch=batch,
                warmup=warmup,
                rss=memory.rss,
                gpu_allocated=memory.gpu_allocated,
                gpu_reserved=memory.gpu_reserved,
            )
            records.append(ImageRecord(sample.id, sample.label.size, counted, edges, cost, resized))
        return records

    def _present(self, label: LabelMap) -> tuple[int, ...]:
        present = present_labels(label, self.vocabulary, self.ignore_label)
        if present or self.vocabulary.background:
            return present
        return tuple(range(len(self.vocabulary)))  # nothing is scored here, yet an answer is due

    def _resized(
        self, sample: Sample, label: LabelMap, prediction: LabelMap
    ) -> dict[str, Foreground]:
        """Where an image is asked for a class of its own: that class at others' sizes."""
        if sample.prompt is None:
            return {}
        asked = sample.prompt.labels[-1]
        return foreground_at_sides(label == asked, prediction == asked, label == self.ignore_label)

    def _confusion(
        self,
        image: str,
        label: LabelMap,
        prediction: LabelMap,
        allowed: Collection[int] | None,
    ) -> Confusion:
        try:
            counted = confusion(
                label,
                prediction,
                len(self.vocabulary),
                self.ignore_label,
                unanswered=_WHERE[self.unanswered],
            )
        except OvbenchError as error:
            raise type(error)(f"image {image}: {error}") from None
        if allowed is not None:
            background = range(self.vocabulary.offset)
            if strays := set(counted.pred.tolist()) - set(allowed) - set(background):
                raise ContractError(
                    f"image {image}: labels {sorted(strays)} were predicted though they "
                    "are not among the candidates"
                )
        return counted


def present_labels(label: LabelMap, vocabulary: Vocabulary, ignore_label: int) -> tuple[int, ...]:
    """The classes of a ground truth, ascending; neither background nor what is ignored."""
    values = (int(v) for v in np.unique(label))
    return tuple(v for v in values if v >= vocabulary.offset and v != ignore_label)


class RunningMiou:
    """mIoU of the images seen so far, for a progress display.

    Args:
        scored: the labels to average over; None for all.
    """

    def __init__(self, num_labels: int, scored: Sequence[int] | None = None) -> None:
        # The last column is of the pixels without an answer.
        self._matrix = np.zeros((num_labels, num_labels + 1), dtype=np.int64)
        self._scored = range(num_labels) if scored is None else scored
        self._waiting: list[Confusion] = []

    def add(self, confusion: Confusion) -> None:
        """Take one image in."""
        self._waiting.append(confusion)
        if len(self._waiting) == _WAITING:
            self._settle()

    def value(self) -> float:
        """Percent; nan before the first image."""
        self._settle()
        return scores(areas(self._matrix).take(self._scored), background=False).miou

    def _settle(self) -> None:
        for one in self._waiting:
            self._matrix[one.gt, one.pred] += one.pixels  # pairs are unique
        self._waiting.clear()
