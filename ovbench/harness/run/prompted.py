"""Asks a method for every image's own class, as image-prompted benchmarks do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from ovbench.errors import ContractError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import Prompt, Sample
from ovbench.harness.contract.segmenters import Segmenter
from ovbench.harness.contract.stages import stage
from ovbench.harness.run.asking import ask
from ovbench.harness.run.counting import Candidates


class PromptedPredictor:
    """Prepares the method for each prompt; samples in a row that share one are asked together.

    What the method spends on a prompt is part of the images' time, as the stage "prepare".
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter
        self._prepared: str | None = None

    def prepare(self) -> Sequence[str]:
        """Nothing is known before the first prompt."""
        return ()

    def predict(self, samples: Sequence[Sample], candidates: Candidates) -> Sequence[LabelMap]:
        """One label map per sample, in the dataset's labels.

        Raises:
            ContractError: an answer is not within its prompt's labels; names the image.
        """
        return list(self._answers(samples))

    def _answers(self, samples: Sequence[Sample]) -> Iterator[LabelMap]:
        for _, group in groupby(samples, key=lambda sample: _prompt(sample).id):
            asked = list(group)
            prompt = _prompt(asked[0])
            if prompt.id != self._prepared:
                with stage("prepare"):
                    self.segmenter.prepare(prompt.vocabulary)
                self._prepared = prompt.id
            ids = [sample.id for sample in asked]
            maps = ask(self.segmenter, [sample.image for sample in asked], ids=ids)
            if len(maps) != len(asked):
                raise ContractError(f"{len(asked)} images were given, {len(maps)} maps came back")
            for sample, answer in zip(asked, maps, strict=True):
                yield _translated(sample.id, answer, prompt.labels)


def _prompt(sample: Sample) -> Prompt:
    if sample.prompt is None:
        raise ValueError(f"image {sample.id} has no prompt, but its dataset is prompted")
    return sample.prompt


def _translated(image: str, answer: LabelMap, labels: Sequence[int]) -> LabelMap:
    if answer.size and (highest := int(answer.max())) >= len(labels):
        raise ContractError(
            f"image {image}: label {highest} is outside the prompt's {len(labels)} labels"
        )
    # Bytes are counted faster.
    dtype: np.dtype[np.unsignedinteger[Any]]
    dtype = np.dtype(np.uint8 if max(labels) < 256 else np.uint16)
    return np.array(labels, dtype)[answer]
