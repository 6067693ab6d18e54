from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovbench.errors import ContractError, UsageError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import DatasetInfo, Prompt, Sample
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Exemplar, Vocabulary
from ovbench.harness.metrics.resized import SIDES, foreground_at_sides, miou_at_sides
from ovbench.harness.run.runner import Options, evaluate

NAMES = ("cat", "dog", "bird")


def prompt(label: int) -> Prompt:
    shown = Exemplar(np.full((4, 4, 3), label, np.uint8), np.eye(4, dtype=bool))
    query = ClassQuery(NAMES[label - 1], exemplars=(shown,))
    return Prompt(NAMES[label - 1], Vocabulary((query,), Background()), (0, label))


@dataclass
class Episodes:
    """Nine episodes of three classes; the class's pixels are brighter than 127."""

    order: Sequence[int] = (1, 1, 1, 2, 2, 3, 3, 1, 2)
    info: DatasetInfo = field(
        default_factory=lambda: DatasetInfo(
            "episodes", "test", "class", scored=(1, 2, 3), prompted=True
        )
    )
    vocabulary: Vocabulary = field(default_factory=lambda: Vocabulary.of(*NAMES, background=True))

    @property
    def ids(self) -> list[str]:
        return [f"{number}" for number in range(len(self.order))]

    def load(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        image = rng.integers(0, 256, (8, 9, 3), dtype=np.uint8)
        label = (image[..., 0] > 127) * np.uint8(self.order[index])
        return Sample(self.ids[index], image, label, prompt(self.order[index]))

    def decode(self, raw: LabelMap, source: Path) -> LabelMap:
        return raw


class Bright:
    """Answers with label 1 where a channel is bright; remembers what it was prepared for."""

    def __init__(self, channel: int = 0) -> None:
        self.channel, self.asked = channel, 0
        self.prepared: list[str] = []

    def prepare(self, vocabulary: Vocabulary) -> None:
        assert vocabulary.names[0] == "background"
        assert vocabulary.classes[0].exemplars[0].mask is not None
        self.prepared.append(vocabulary.names[1])

    def segment(self, images: Any, candidates: Any = None) -> list[LabelMap]:
        assert candidates is None
        self.asked += 1
        return [(image[..., self.channel] > 127).astype(np.uint8) for image in images]


def test_every_image_is_asked_for_its_own_class(tmp_path: Path) -> None:
    method = Bright()
    result = evaluate(method, Episodes(), output=tmp_path / "run")
    assert result is not None
    assert result["metrics"]["miou"] == 100
    assert result["metrics"]["definitions"]["per_image"] == 100
    # Episodes in a row that share a prompt share its preparation; nothing else is prepared.
    assert method.prepared == ["cat", "dog", "bird", "cat", "dog"]
    assert "prepare" in result["profile"]["stages"]


@pytest.mark.parametrize("batch_size", [1, 2, 4, 9])
def test_class_accumulated_and_per_image_iou(tmp_path: Path, batch_size: int) -> None:
    episodes = Episodes()
    options = Options(batch_size=batch_size)
    result = evaluate(Bright(channel=1), episodes, output=tmp_path / "run", options=options)
    assert result is not None
    hits = {label: [0, 0] for label in (1, 2, 3)}
    ious = []
    for index, label in enumerate(episodes.order):
        sample = episodes.load(index)
        truth, answer = sample.label > 0, sample.image[..., 1] > 127
        both, either = int((truth & answer).sum()), int((truth | answer).sum())
        hits[label][0] += both
        hits[label][1] += either
        ious.append(100 * both / either)
    accumulated = np.mean([100 * both / either for both, either in hits.values()])
    assert result["metrics"]["miou"] == pytest.approx(accumulated)
    assert result["metrics"]["definitions"]["per_image"] == pytest.approx(np.mean(ious))
    resized = {name: result["metrics"]["definitions"][name] for name in SIDES}
    masks = [(episodes.load(i).label > 0, episodes.load(i).image[..., 1] > 127)
             for i in range(len(episodes.order))]  # fmt: skip
    found = [foreground_at_sides(truth, answer, truth & False) for truth, answer in masks]
    assert resized == pytest.approx(miou_at_sides(episodes.order, found))
    assert result["per_class"][0]["scored"] is False


def test_a_resumed_run_ends_with_the_same_numbers(tmp_path: Path, killed_after) -> None:
    whole = evaluate(Bright(2), Episodes(), output=tmp_path / "whole")

    with pytest.raises(KeyboardInterrupt):
        evaluate(Bright(2), Episodes(), output=tmp_path / "cut", observer=killed_after(4))
    again = evaluate(Bright(2), Episodes(), output=tmp_path / "cut")
    assert whole is not None
    assert again is not None
    assert again["metrics"] == whole["metrics"]


def test_an_answer_outside_the_prompt_is_named(tmp_path: Path) -> None:
    class Astray(Bright):
        def segment(self, images: Any, candidates: Any = None) -> list[LabelMap]:
            return [np.full(image.shape[:2], 2, np.uint8) for image in images]

    with pytest.raises(ContractError, match="image 0: label 2 is outside the prompt's 2 labels"):
        evaluate(Astray(), Episodes(), output=tmp_path / "a")

    class Floats(Bright):
        def segment(self, images: Any, candidates: Any = None) -> list[Any]:
            return [np.zeros(image.shape[:2]) for image in images]

    with pytest.raises(ContractError, match="image 0: a label map is float64; labels are integers"):
        evaluate(Floats(), Episodes(), output=tmp_path / "b")

    class Few(Bright):
        def segment(self, images: Any, candidates: Any = None) -> list[LabelMap]:
            return []

    with pytest.raises(ContractError, match="1 images were given, 0 maps came back"):
        evaluate(Few(), Episodes(), output=tmp_path / "c")


def test_the_class_oracle_does_not_apply() -> None:
    with pytest.raises(UsageError, match=r"episodes asks for each image's own class; .*'oracle'"):
        evaluate(Bright(), Episodes(), options=Options(classes="oracle"))
