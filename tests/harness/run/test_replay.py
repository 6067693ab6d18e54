"""Answers that are made again are those that were counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovbench.datasets import load_dataset
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.files.images import read_label
from ovbench.harness.registry.filters import load_filter
from ovbench.harness.registry.methods import Method, load_method
from ovbench.harness.results.store import RunStore
from ovbench.harness.run.counting import ClassChoice
from ovbench.harness.run.replay import Replay
from ovbench.harness.run.runner import Options, evaluate


def replayed(run: Path, dataset: Any, batch_size: int = 1) -> Replay:
    identity = RunStore(run).identity()
    assert identity
    return Replay(run, identity, dataset, batch_size=batch_size, device="cpu")


class Dice:
    """Draws from the global generator, which the runner seeds for every batch."""

    def prepare(self, vocabulary: Vocabulary) -> None:
        self.labels = len(vocabulary)
        self.offset = int(np.random.randint(1000))

    def segment(self, images: Any, candidates: Any = None) -> list[LabelMap]:
        return [
            ((np.random.randint(0, self.labels, image.shape[:2]) + self.offset) % self.labels)
            .astype(np.uint8)
            for image in images
        ]  # fmt: skip


def test_the_first_image_of_a_batch_has_the_draws_it_had(
    tmp_path: Path, memory_dataset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = memory_dataset()
    options = Options(batch_size=3, save_predictions=True)
    method = Method.of(Dice(), Runtime(seed=5))
    evaluate(method, dataset, output=tmp_path, options=options)
    (tmp_path / "predictions").rename(tmp_path / "kept")
    given = {}

    def load(name: str, **options: Any) -> Method:
        given.update(options, name=name)
        return Method.of(Dice(), Runtime(seed=5))

    monkeypatch.setattr("ovbench.harness.run.replay.load_method", load)
    replay = replayed(tmp_path, dataset, 3)
    for index in (6, 0, 3):
        answer = replay.answer(dataset.load(index))
        assert answer.again
        kept = read_label(tmp_path / "kept" / f"{dataset.ids[index]}.png")
        assert (answer.labels == kept).all()
    assert given == {
        "name": "Dice", "settings": {}, "device": "cpu", "precision": "fp32",
        "checkpoints": "real", "seed": 5,
    }  # fmt: skip
    assert replay.differences == []


@pytest.mark.parametrize("classes", ["all", "oracle", "predicted"])
def test_settings_weights_and_classes_are_those_of_the_run(
    tmp_path: Path, classes: ClassChoice
) -> None:
    dataset = load_dataset("toyworld")
    method = load_method(
        "maskclip", settings={"residual": True}, device="cpu", checkpoints="toy", seed=3
    )
    chosen = None
    if classes == "predicted":
        chosen = load_filter(settings={"rule": "average"}, runtime=method.subject.runtime)
    options = Options(classes, limit=3, save_predictions=True)
    evaluate(method, dataset, class_filter=chosen, output=tmp_path, options=options)
    (tmp_path / "predictions" / f"{dataset.ids[2]}.png").rename(tmp_path / "kept.png")
    replay = replayed(tmp_path, dataset)
    assert not replay.answer(dataset.load(1)).again
    assert replay.differences == ()
    answer = replay.answer(dataset.load(2))
    assert answer.again
    assert (answer.labels == read_label(tmp_path / "kept.png")).all()
    assert replay.differences == []


def test_what_is_another_method_now_is_told(tmp_path: Path) -> None:
    dataset = load_dataset("toyworld")
    evaluate(load_method("constant", device="cpu"), dataset, output=tmp_path,
             options=Options(limit=2))  # fmt: skip
    identity = RunStore(tmp_path).identity()
    assert identity
    identity["method"]["version"] = "0.0.1"
    identity["checkpoints"] = [{"role": "clip", "name": "x", "revision": None, "sha256": "0"}]
    identity["code"]["ovbench"] = "0"
    replay = Replay(tmp_path, identity, dataset, device="cpu")
    assert replay.answer(dataset.load(0)).labels is not None
    assert len(replay.differences) == 3
    assert "it was 0.0.1" in replay.differences[0]
    assert replay.differences[1] == "its code is not that of the run"


def test_weights_that_are_missing_are_looked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load_dataset("toyworld")
    evaluate(load_method("constant", device="cpu"), dataset, output=tmp_path,
             options=Options(limit=2))  # fmt: skip
    identity = RunStore(tmp_path).identity()
    assert identity
    identity["settings"] = {"nonsense": 1}
    calls = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return load_method(*args, **kwargs)

    monkeypatch.setattr("ovbench.harness.run.replay.load_method", counted)
    replay = Replay(tmp_path, identity, dataset, device="cpu")
    for index in range(2):
        answer = replay.answer(dataset.load(index))
        assert answer.labels is None
        assert "no setting 'nonsense'" in answer.problem
    assert len(calls) == 1
