"""``classes="predicted"``: a filter names each image's classes, and the result says so."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovbench.errors import ContractError, UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.filters import ClassFilter
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.contract.settings import setting
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.registry.filters import Filter, load_filter
from ovbench.harness.registry.methods import Method
from ovbench.harness.run.runner import Options, evaluate
from ovbench.leaderboards.tables.marks import marks
from ovbench.leaderboards.tables.table import boards

PREDICTED = Options(classes="predicted")
WEIGHTS = CheckpointRecord("clip", "a clip", None, "0" * 64)


@dataclass(frozen=True)
class ParitySettings:
    even: int = setting(1, "our choice", "label of an image of even height")


class Parity:
    """Names one class, by the parity of the image's height."""

    Settings = ParitySettings
    checkpoints = (WEIGHTS,)

    def __init__(self, settings: ParitySettings | None = None) -> None:
        self.settings = settings or ParitySettings()
        self.sizes: list[int] = []

    def prepare(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def select(self, images: Sequence[Image]) -> list[tuple[int, ...]]:
        self.sizes.append(len(images))
        return [self.answer(image) for image in images]

    def answer(self, image: Image) -> tuple[int, ...]:
        return (self.settings.even,) if image.shape[0] % 2 == 0 else (2, 3)


class Answers:
    """Gives one fixed answer to every batch."""

    def __init__(self, answer: Callable[[int], Sequence[Collection[int]]]) -> None:
        self.answer = answer

    def prepare(self, vocabulary: Vocabulary) -> None: ...

    def select(self, images: Sequence[Image]) -> Sequence[Collection[int]]:
        return self.answer(len(images))


class Obedient:
    """Fills every image with the lowest of its candidates, and remembers them."""

    def prepare(self, vocabulary: Vocabulary) -> None:
        self.seen: list[tuple[int, ...] | None] = []

    def segment(self, images, candidates=None):
        self.seen += [None] * len(images) if candidates is None else [tuple(c) for c in candidates]
        allowed = candidates or [(1,)] * len(images)
        return [
            np.full(image.shape[:2], min(labels), dtype=np.uint8)
            for image, labels in zip(images, allowed, strict=True)
        ]


def numbers(result: dict[str, Any]) -> tuple[Any, ...]:
    return result["metrics"], result["per_class"]


def test_a_filter_keeps_its_protocol() -> None:
    assert isinstance(Parity(), ClassFilter)


def test_the_method_gets_what_the_filter_names(tmp_path: Path, memory_dataset) -> None:
    dataset, method, parity = memory_dataset(), Obedient(), Parity()
    result = evaluate(method, dataset, class_filter=parity, output=tmp_path, options=PREDICTED)
    heights = [dataset.load(i).image.shape[0] for i in range(len(dataset.ids))]
    assert method.seen == [(1,) if height % 2 == 0 else (2, 3) for height in heights]
    assert parity.vocabulary == dataset.vocabulary
    assert result is not None
    assert result["per_class"][3]["pred_pixels"] == 0
    assert result["run"]["classes"] == "predicted"


def test_the_result_says_which_filter_it_was(tmp_path: Path, memory_dataset) -> None:
    chooser = Parity(ParitySettings(even=3))
    result = evaluate(
        Obedient(), memory_dataset(), class_filter=chooser, output=tmp_path, options=PREDICTED
    )
    assert result is not None
    expected = {
        "name": "Parity",
        "version": "unregistered",
        "settings": {"even": 3},
        "checkpoints": [dataclasses.asdict(WEIGHTS)],
    }
    assert result["filter"] == expected
    assert result["checkpoints"] == []  # those are the method's own
    identity = json.loads((tmp_path / "run.json").read_text())["identity"]
    assert identity["filter"] == expected


def test_the_filter_s_time_is_part_of_the_method_s(tmp_path: Path, memory_dataset) -> None:
    result = evaluate(
        Obedient(), memory_dataset(), class_filter=Parity(), output=tmp_path, options=PREDICTED
    )
    assert result is not None
    assert result["profile"]["stages"]["filter"]["mean_s"] > 0
    assert set(result["profile"]["prepare_stages_s"]) == {"filter"}


@pytest.mark.parametrize("classes", ["all", "oracle"])
def test_other_runs_know_nothing_of_filters(tmp_path: Path, memory_dataset, classes) -> None:
    result = evaluate(
        Obedient(), memory_dataset(), output=tmp_path, options=Options(classes=classes)
    )
    assert result is not None
    assert result["filter"] is None
    assert "filter" not in json.loads((tmp_path / "run.json").read_text())["identity"]


def test_another_filter_is_another_run(tmp_path: Path, memory_dataset) -> None:
    def run(chooser: ClassFilter) -> None:
        evaluate(
            Obedient(), memory_dataset(), class_filter=chooser, output=tmp_path, options=PREDICTED
        )

    run(Parity())
    run(Parity())
    with pytest.raises(UsageError, match=r"differs in: filter\.settings\.even"):
        run(Parity(ParitySettings(even=2)))


def test_only_runs_with_one_filter_are_ranked_together(tmp_path: Path, memory_dataset) -> None:
    def run(method: object, even: int) -> dict[str, Any]:
        chooser = Parity(ParitySettings(even))
        path = tmp_path / f"{type(method).__name__}-{even}"
        result = evaluate(
            method, memory_dataset(), class_filter=chooser, output=path, options=PREDICTED
        )
        assert result is not None
        return result

    class Twin(Obedient): ...

    made = boards([run(Obedient(), 1), run(Twin(), 1), run(Obedient(), 2)])
    assert sorted(len(board.rows) for board in made) == [1, 2]
    assert len({board.title for board in made}) == 2
    assert all("predicted classes: Parity (" in board.title for board in made)


def test_marks_name_the_filter_and_its_weights(tmp_path: Path, memory_dataset) -> None:
    method = Method.of(Obedient(), Runtime(checkpoints="toy"))
    data = memory_dataset(count=30)  # enough for an interval
    result = evaluate(method, data, class_filter=Parity(), output=tmp_path, options=PREDICTED)
    assert result is not None
    assert marks(result) == [
        "predicted classes: the filter Parity chose each image's classes", "toy weights",
    ]  # fmt: skip


def test_an_interrupted_run_goes_on_in_the_same_batches(
    tmp_path: Path, memory_dataset, killed_after
) -> None:
    options = Options(classes="predicted", batch_size=5)
    whole = evaluate(Obedient(), memory_dataset(), class_filter=Filter.of(Parity(), "parity"),
                     output=tmp_path / "whole", options=options)  # fmt: skip
    dying = Parity()
    with pytest.raises(KeyboardInterrupt):
        evaluate(Obedient(), memory_dataset(), class_filter=Filter.of(dying, "parity"),
                 output=tmp_path / "run", options=options, observer=killed_after(10))  # fmt: skip
    parity = Parity()
    resumed = evaluate(Obedient(), memory_dataset(), class_filter=Filter.of(parity, "parity"),
                       output=tmp_path / "run", options=options)  # fmt: skip
    assert whole is not None
    assert resumed is not None
    assert (dying.sizes, parity.sizes) == ([5, 5, 2], [2])  # one is asked while one is counted
    assert numbers(resumed) == numbers(whole)
    assert resumed["run"]["id"] == whole["run"]["id"]


def test_what_the_filter_misses_stays_wrong(tmp_path: Path, memory_dataset, thresholds) -> None:
    with pytest.raises(ContractError, match=r"image image-000: labels \[.*\] were predicted"):
        evaluate(
            thresholds,
            memory_dataset(),
            class_filter=Answers(lambda count: [(1,)] * count),
            output=tmp_path,
            options=PREDICTED,
        )


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda count: [()] * count, "image image-000: class filter Answers chose no class"),
        (lambda count: [(0, 1)] * count, r"image image-000: .* chose \[0\]; .* labels 1 to 3"),
        (lambda count: [(1, 4)] * count, r"image image-000: .* chose \[4\]; .* labels 1 to 3"),
        (lambda count: [(-1,)] * count, r"image image-000: .* chose \[-1\]"),
        (lambda count: [(1,)] * (count + 1), "2 images were given, 3 answers came back"),
    ],
)
def test_a_broken_answer_is_named(tmp_path: Path, memory_dataset, answer, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        evaluate(
            Obedient(),
            memory_dataset(),
            class_filter=Answers(answer),
            output=tmp_path,
            options=Options(classes="predicted", batch_size=2),
        )


def test_without_a_background_the_first_label_is_a_class(memory_dataset) -> None:
    samples = [memory_dataset().load(0)]
    chosen = Filter.of(Answers(lambda count: [[np.int64(0), 0]])).select(
        samples, Vocabulary.of("sea", "sky")
    )
    assert chosen == [(0,)]
    assert type(chosen[0][0]) is int


@pytest.mark.parametrize(("classes", "chooser"), [("predicted", None), ("all", Parity())])
def test_predicted_and_a_filter_go_together(
    tmp_path: Path, memory_dataset, classes, chooser: ClassFilter | None
) -> None:
    with pytest.raises(UsageError, match="go together"):
        evaluate(Obedient(), memory_dataset(), class_filter=chooser, output=tmp_path,
                 options=Options(classes=classes))  # fmt: skip
    assert not tmp_path.joinpath("run.json").exists()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("clop", {}, "no class filter 'clop'; did you mean 'clip'"),
        ("clip", {"treshold": 1}, "did you mean 'threshold'"),
        ("clip", {"threshold": 2}, "at most 1"),
        ("clip", {"rule": "best"}, "expected ratio or average"),
    ],
)
def test_wrong_filters_are_one_clear_line(name: str, settings: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load_filter(name, settings=settings)
    assert "\n" not in str(caught.value)
