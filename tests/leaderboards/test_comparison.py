"""Paired comparison against a loop, and as a test that is right as often as it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import DatasetInfo, Sample
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.metrics.interval import Estimate, miou_estimate
from ovbench.harness.metrics.scores import Areas
from ovbench.harness.run.runner import Options, evaluate
from ovbench.leaderboards.gates.comparison import compare


class Noisy:
    """Answers right but for a share of the pixels, drawn by image and seed."""

    def __init__(self, wrong: float, seed: int = 0) -> None:
        self.wrong, self.seed = wrong, seed

    def prepare(self, vocabulary: Vocabulary) -> None:
        self.labels = len(vocabulary)

    def segment(self, images: Any, candidates: Any = None) -> list[LabelMap]:
        return [self.answer(image) for image in images]

    def answer(self, image: np.typing.NDArray[np.uint8]) -> LabelMap:
        truth = image[..., 0] % self.labels
        rng = np.random.default_rng([self.seed, *image[0, 0].tolist()])
        spoilt = rng.random(truth.shape) < self.wrong
        return np.where(spoilt, rng.integers(0, self.labels, truth.shape), truth).astype(np.uint8)


class Readable:
    """Images whose red channel tells the label."""

    def __init__(self, count: int = 12, **info: Any) -> None:
        self.info = DatasetInfo("readable", "val", "class", **info)
        self.vocabulary = Vocabulary.of("cat", "dog", background=True)
        self.ids = [f"{n}" for n in range(count)]

    def load(self, index: int) -> Sample:
        image = np.random.default_rng(index).integers(0, 256, (12, 10, 3), dtype=np.uint8)
        return Sample(self.ids[index], image, image[..., 0] % np.uint8(3))

    def decode(self, raw: LabelMap, source: Path) -> LabelMap:
        return raw


def run(path: Path, method: Noisy, dataset: Readable | None = None, **options: Any) -> Path:
    evaluate(method, dataset or Readable(), output=path, options=Options(**options))
    return path


def areas_by_image(method: Noisy, dataset: Readable) -> np.typing.NDArray[np.int64]:
    """Intersection and union, ``(images, labels, 2)``, images in the order of their names."""
    found = []
    for index in sorted(range(len(dataset.ids)), key=lambda i: dataset.ids[i]):
        sample = dataset.load(index)
        truth, answer = sample.label, method.answer(sample.image)
        found.append([[((truth == c) & (answer == c)).sum(), ((truth == c) | (answer == c)).sum()]
                      for c in range(3)])  # fmt: skip
    return np.array(found)


def test_equals_a_loop_that_leaves_each_image_out(tmp_path: Path) -> None:
    methods, dataset = (Noisy(0.3, 1), Noisy(0.4, 2)), Readable()
    a, b = (run(tmp_path / f"{m.seed}", m) for m in methods)
    found = compare(a, b)
    for method in methods:
        method.labels = 3
    counts = [areas_by_image(method, dataset) for method in methods]

    def effects(images: list[int]) -> np.typing.NDArray[np.float64]:
        totals = [one[images].sum(axis=0) for one in counts]
        ious = [100 * t[:, 0] / t[:, 1] for t in totals]
        return np.array([ious[0].mean() - ious[1].mean(), *(ious[0] - ious[1])])

    whole = effects(list(range(12)))
    left_out = np.array([effects([i for i in range(12) if i != out]) for out in range(12)])
    bias = 11 * (left_out.mean(axis=0) - whole) * (1 + 4 / 12)  # every class is in every image
    shares = [bias[1:] / 3, *bias[1:, None]]
    for place, one in enumerate([found.overall, *found.per_class]):
        assert one.effect == pytest.approx(whole[place])
        expected = Estimate(whole[place], left_out[:, place], shares[place])
        assert (one.low, one.high) == pytest.approx(expected.interval())
        assert one.p == pytest.approx(expected.p())


def test_turned_round_the_sign_changes(tmp_path: Path) -> None:
    a, b = run(tmp_path / "a", Noisy(0.2)), run(tmp_path / "b", Noisy(0.5))
    one, other = compare(a, b), compare(b, a)
    assert one.overall.effect == pytest.approx(-other.overall.effect)  # type: ignore[operator]
    assert one.overall.p == other.overall.p
    assert one.overall.low == pytest.approx(-other.overall.high)  # type: ignore[operator]
    assert one.sentence() == other.sentence()
    assert one.sentence().startswith("Noisy [a] is better than Noisy [b] by ")
    assert "mIoU on the same 12 images (p < 0.001)" in one.sentence()


def test_a_run_is_no_better_than_itself(tmp_path: Path) -> None:
    a = run(tmp_path / "a", Noisy(0.3))
    found = compare(a, a)
    assert (found.overall.effect, found.overall.p) == (0, 1)
    assert found.sentence() == (
        "Noisy [a] and Noisy [a] cannot be told apart: 0.00 ± 0.00 mIoU between them on the same "
        "12 images"
    )


def test_equal_methods_seldom_look_different() -> None:
    """Of 200 pairs that differ by chance alone, about one in twenty has p < 0.05."""
    rng, small = np.random.default_rng(0), 0
    for _ in range(200):
        gt = np.full((60, 3), 100)
        hits = rng.binomial(100, 0.7, (2, 60, 3))
        a, b = (miou_estimate(Areas(hit, gt, gt)) for hit in hits)
        small += a.minus(b).p() < 0.05
    assert 2 <= small <= 22


def test_a_class_of_one_image_has_a_difference_and_no_interval(tmp_path: Path) -> None:
    class Rare(Readable):
        def load(self, index: int) -> Sample:
            sample = super().load(index)
            label = np.where(sample.label == 2, 255 if index else 2, sample.label)
            return Sample(sample.id, sample.image, label.astype(np.uint8))

    class TwoClasses(Noisy):
        def answer(self, image: np.typing.NDArray[np.uint8]) -> LabelMap:
            answer = super().answer(image)
            first = (image == Readable().load(0).image).all()
            return answer if first else np.minimum(answer, 1).astype(np.uint8)

    runs = [run(tmp_path / f"{w}", TwoClasses(w), Rare()) for w in (0.2, 0.5)]
    found = compare(*runs)
    dog = found.per_class[2]
    assert dog.effect is not None
    assert (dog.low, dog.high, dog.p) == (None, None, None)
    assert found.overall.low is not None


def test_only_common_images_count(tmp_path: Path) -> None:
    a, b = run(tmp_path / "a", Noisy(0.3)), run(tmp_path / "b", Noisy(0.3, 1), limit=7)
    found = compare(a, b)
    assert found.num_images == 7
    assert found.warnings == [
        "only the 7 images that both runs hold, of up to 12",
        "the runs differ in limit: None and 7",
        "the runs differ in the setting seed: 0 and 1",
    ]


def test_a_run_that_is_not_finished_is_told(tmp_path: Path, killed_after: Any) -> None:
    a = run(tmp_path / "a", Noisy(0.3))
    with pytest.raises(KeyboardInterrupt):
        evaluate(Noisy(0.1), Readable(), output=tmp_path / "b", observer=killed_after(5))
    found = compare(a, tmp_path / "b").warnings
    assert any(line.endswith("is not finished: 5 of 12 images") for line in found)


def test_what_else_differs_is_told(tmp_path: Path) -> None:
    renamed = Readable()
    renamed.vocabulary = Vocabulary.of("kitten", "puppy", background=True)
    a, b = run(tmp_path / "a", Noisy(0.3)), run(tmp_path / "b", Noisy(0.3), renamed)
    (warning,) = compare(a, b).warnings
    assert warning.startswith("the runs differ in vocabulary.sha256: ")


def test_only_scored_classes_are_compared(tmp_path: Path) -> None:
    runs = [run(tmp_path / f"{w}", Noisy(w), Readable(scored=(1, 2))) for w in (0.1, 0.4)]
    assert [one.name for one in compare(*runs).per_class] == ["cat", "dog"]


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    a = run(tmp_path / "a", Noisy(0.3))
    with pytest.raises(UsageError, match=r"nothing: no run here; a run directory holds run\.json"):
        compare(a, tmp_path / "nothing")
    other = run(tmp_path / "b", Noisy(0.3), Readable(variant="other"))
    with pytest.raises(UsageError, match="not of the same benchmark: variant None and other"):
        compare(a, other)
    larger = Readable()
    larger.vocabulary = Vocabulary.of("cat", "dog", "cow", background=True)
    with pytest.raises(UsageError, match="the runs do not have the same number of labels"):
        compare(a, run(tmp_path / "c", Noisy(0.3), larger))
    few = run(tmp_path / "d", Noisy(0.3), limit=1)
    with pytest.raises(UsageError, match="1 images in common; two are needed"):
        compare(a, few)


def test_the_command(tmp_path: Path) -> None:
    a, b = run(tmp_path / "a", Noisy(0.2)), run(tmp_path / "b", Noisy(0.5))
    command = [sys.executable, "-m", "ovbench", "compare", str(a), str(b)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "A − B" in shown
    assert shown.splitlines()[-1].startswith("Noisy [a] is better than Noisy [b] by ")
    read = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout
    content = json.loads(read)
    assert content["sentence"] == shown.splitlines()[-1]
    assert [one["name"] for one in content["per_class"]] == ["background", "cat", "dog"]
    done = subprocess.run([*command[:4], str(a), str(tmp_path)], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
