from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ovbench.errors import ContractError, DataError, UsageError
from ovbench.harness.contract.datasets import DatasetInfo
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.run.runner import Options, evaluate


def numbers(result: dict) -> tuple:
    return result["metrics"], result["per_class"]


def test_a_result_has_everything(tmp_path, memory_dataset, thresholds) -> None:
    result = evaluate(thresholds, memory_dataset(), output=tmp_path / "run")
    assert result is not None
    assert result == json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["schema_version"] == 3
    assert result["run"]["num_images"] == 12
    assert result["run"]["complete"] is True
    assert result["vocabulary"]["names"] == ["background", "cat", "dog", "bird"]
    assert result["metrics"]["miou"] == pytest.approx(result["metrics"]["definitions"]["union"])
    low, high = result["metrics"]["miou_ci95"]
    assert low <= result["metrics"]["miou"] <= high
    assert [row["name"] for row in result["per_class"]] == result["vocabulary"]["names"]
    assert result["profile"]["images_measured"] == 12 - 5
    assert result["profile"]["per_image_s"]["mean"] > 0
    assert result["environment"]["packages"]["numpy"] == np.__version__


def test_counts_agree_with_counting_by_hand(tmp_path, memory_dataset, thresholds) -> None:
    dataset = memory_dataset()
    result = evaluate(thresholds, dataset, output=tmp_path)
    thresholds.prepare(dataset.vocabulary)
    truth, answer = [], []
    for index in range(len(dataset.ids)):
        sample = dataset.load(index)
        truth.append(sample.label.ravel())
        answer.append(thresholds.segment([sample.image])[0].ravel())
    gt, pred = np.concatenate(truth), np.concatenate(answer)
    gt, pred = gt[gt != 255], pred[gt != 255]
    ious = [((gt == c) & (pred == c)).sum() / ((gt == c) | (pred == c)).sum() for c in range(4)]
    assert result["metrics"]["miou"] == pytest.approx(100 * np.mean(ious))
    assert result["metrics"]["pixel_accuracy"] == pytest.approx(100 * (gt == pred).mean())
    assert [row["gt_pixels"] for row in result["per_class"]] == np.bincount(gt).tolist()


@pytest.mark.parametrize("batch_size", [2, 5, 50])
def test_batches_do_not_change_numbers(tmp_path, memory_dataset, thresholds, batch_size) -> None:
    one = evaluate(thresholds, memory_dataset(), output=tmp_path / "1")
    many = evaluate(
        thresholds,
        memory_dataset(),
        output=tmp_path / "n",
        options=Options(batch_size=batch_size),
    )
    assert numbers(one) == numbers(many)


def test_an_interrupted_run_goes_on_where_it_stopped(
    tmp_path, memory_dataset, thresholds, killed_after
) -> None:
    class Noting:
        """Asks the real method, and notes what it was asked."""

        def __init__(self) -> None:
            self.batches: list[int] = []

        def prepare(self, vocabulary: Vocabulary) -> None:
            thresholds.prepare(vocabulary)

        def segment(self, images, candidates=None):
            self.batches.append(len(images))
            return thresholds.segment(images)

    options = Options(batch_size=5)
    whole = evaluate(thresholds, memory_dataset(), output=tmp_path / "whole", options=options)
    method = Noting()
    with pytest.raises(KeyboardInterrupt):
        evaluate(method, memory_dataset(), output=tmp_path / "run", options=options,
                 observer=killed_after(10))  # fmt: skip
    shard = tmp_path / "run" / "records" / "rank-0.jsonl"
    lines = shard.read_bytes().splitlines(keepends=True)
    shard.write_bytes(b"".join(lines[:8]) + lines[8][:20])  # session, 7 of 10 records, a torn one
    resumed = evaluate(method, memory_dataset(), output=tmp_path / "run", options=options)
    # The third batch was asked for while the second was counted. The second again, whole as it was;
    # the first not.
    assert method.batches == [5, 5, 2, 5, 2]
    assert numbers(resumed) == numbers(whole)
    images = [json.loads(x).get("image") for x in shard.read_text().splitlines()]
    assert len([i for i in images if i]) == len({i for i in images if i}) == 12


def test_a_finished_run_is_not_measured_again(
    tmp_path, memory_dataset, thresholds, monkeypatch
) -> None:
    first = evaluate(thresholds, memory_dataset(), output=tmp_path)
    monkeypatch.delattr("ovbench.harness.run.runner.SegmenterPredictor.prepare")
    assert evaluate(thresholds, memory_dataset(), output=tmp_path) == first


def test_another_run_does_not_take_the_directory(tmp_path, memory_dataset, thresholds) -> None:
    evaluate(thresholds, memory_dataset(), output=tmp_path)
    with pytest.raises(UsageError, match=r"holds another run .*classes"):
        evaluate(
            thresholds, memory_dataset(), output=tmp_path, options=Options(classes="oracle")
        )  # fmt: skip


def test_a_bad_image_stops_the_run_and_nothing_is_lost(tmp_path, memory_dataset, thresholds):
    with pytest.raises(DataError, match=r"image-004\.jpg: truncated"):
        evaluate(thresholds, memory_dataset(bad=[4]), output=tmp_path)
    assert not (tmp_path / "result.json").exists()
    healed = evaluate(thresholds, memory_dataset(), output=tmp_path)
    assert healed["run"]["complete"] is True


def test_skip_bad_lists_what_was_left_out(tmp_path, memory_dataset, thresholds) -> None:
    options = Options(skip_bad=True, batch_size=3)
    result = evaluate(thresholds, memory_dataset(bad=[4, 11]), output=tmp_path, options=options)
    assert result["run"]["complete"] is False
    assert result["run"]["num_images"] == 10
    assert [b["image"] for b in result["run"]["bad_images"]] == ["image-004", "image-011"]
    healed = evaluate(thresholds, memory_dataset(), output=tmp_path, options=options)
    assert healed["run"]["complete"] is True
    assert healed["run"]["bad_images"] == []
    whole = evaluate(thresholds, memory_dataset(), output=tmp_path / "whole")
    assert numbers(healed) == numbers(whole)


def test_limit_takes_the_first_images(tmp_path, memory_dataset, thresholds) -> None:
    limited = evaluate(
        thresholds, memory_dataset(), output=tmp_path / "a", options=Options(limit=4)
    )
    small = evaluate(thresholds, memory_dataset(count=4), output=tmp_path / "b")
    assert numbers(limited) == numbers(small)
    assert limited["run"]["limit"] == 4


def test_the_oracle_hands_over_the_classes_of_each_image(tmp_path, memory_dataset) -> None:
    class Obedient:
        def prepare(self, vocabulary: Vocabulary) -> None:
            self.seen: list[list[int]] = []

        def segment(self, images, candidates=None):
            self.seen += [sorted(c) for c in candidates]
            return [
                np.full(image.shape[:2], min(allowed, default=0), dtype=np.uint8)
                for image, allowed in zip(images, candidates, strict=True)
            ]

    dataset, method = memory_dataset(count=3), Obedient()
    evaluate(method, dataset, output=tmp_path, options=Options(classes="oracle"))
    for index, seen in enumerate(method.seen):
        label = dataset.load(index).label
        assert seen == sorted(set(np.unique(label).tolist()) - {0, 255})


def test_answering_outside_the_candidates_names_the_image(tmp_path, memory_dataset, thresholds):
    class OneClass(memory_dataset):
        def load(self, index):
            sample = super().load(index)
            sample.label[:] = 1
            return sample

    with pytest.raises(ContractError, match=r"image image-000: labels \[2, 3\]"):
        evaluate(thresholds, OneClass(), output=tmp_path, options=Options(classes="oracle"))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda image: np.full(image.shape[:2], 9, np.uint8), "image image-000: .*label 9"),
        (lambda image: np.zeros((2, 2), np.uint8), "image image-000: "),
        (lambda image: np.zeros(image.shape[:2], np.float32), "image image-000: .*float32"),
    ],
)
def test_a_broken_answer_names_the_image(tmp_path, memory_dataset, answer, message) -> None:
    class Broken:
        def prepare(self, vocabulary: Vocabulary) -> None: ...

        def segment(self, images, candidates=None):
            return [answer(image) for image in images]

    with pytest.raises(ContractError, match=message):
        evaluate(Broken(), memory_dataset(), output=tmp_path)


def test_too_few_maps(tmp_path, memory_dataset, thresholds) -> None:
    thresholds.segment = lambda images, candidates=None: []
    with pytest.raises(ContractError, match="1 images were given, 0 maps"):
        evaluate(thresholds, memory_dataset(), output=tmp_path)


def test_a_run_finished_in_another_environment_says_so(
    tmp_path, memory_dataset, thresholds, monkeypatch
) -> None:
    with pytest.raises(DataError):
        evaluate(thresholds, memory_dataset(bad=[6]), output=tmp_path)
    monkeypatch.setattr(
        "ovbench.harness.run.runner.environment",
        lambda device, plugins: {"packages": {"torch": "0.0"}},
    )
    result = evaluate(thresholds, memory_dataset(), output=tmp_path)
    words = "measured in 2 environments: devices, package versions or commits differ"
    assert words in result["run"]["warnings"]


def test_a_wrong_count_is_a_warning_in_the_result(tmp_path, memory_dataset, thresholds) -> None:
    info = DatasetInfo("memory", "val", "class", expected_images=1449)
    result = evaluate(thresholds, memory_dataset(info=info), output=tmp_path)
    count, few = result["run"]["warnings"]
    assert count == "memory val has 12 images here; the official list has 1449"
    assert few.startswith("too few images to trust the interval of mIoU: 12, ")


def test_a_method_that_draws_globally_answers_the_same_after_a_resume(
    tmp_path: Path, memory_dataset
) -> None:
    class Careless:
        def prepare(self, vocabulary: Vocabulary) -> None: ...

        def segment(self, images, candidates=None):
            return [np.random.randint(0, 4, i.shape[:2]).astype(np.uint8) for i in images]

    whole = evaluate(Careless(), memory_dataset(), output=tmp_path / "whole")
    with pytest.raises(DataError):
        evaluate(Careless(), memory_dataset(bad=[6]), output=tmp_path / "run")
    assert numbers(evaluate(Careless(), memory_dataset(), output=tmp_path / "run")) == numbers(
        whole
    )


def test_the_observer_is_told_of_every_image_once(tmp_path, memory_dataset, thresholds) -> None:
    class Watching:
        def __init__(self) -> None:
            self.images: list[str] = []

        def started(self, remaining: int, total: int) -> None:
            self.counts = (remaining, total)

        def recorded(self, image, confusion) -> None:
            self.images.append(image)

    watching = Watching()
    options = Options(batch_size=5, skip_bad=True)
    dataset = memory_dataset(bad=[3])
    evaluate(thresholds, dataset, output=tmp_path, options=options, observer=watching)
    assert watching.counts == (12, 12)
    assert sorted(watching.images) == dataset.ids


@pytest.mark.parametrize("options", [{"limit": 0}, {"batch_size": 0}, {"workers": 0}])
def test_options_are_checked(options) -> None:
    with pytest.raises(UsageError, match="must be at least 1"):
        Options(**options)


def test_what_a_method_notes_in_preparing_is_in_the_result(tmp_path, memory_dataset) -> None:
    class Noting:
        """Everything is background."""

        def prepare(self, vocabulary: Vocabulary) -> None:
            self.notes = (f"{len(vocabulary)} labels",)

        def segment(self, images, candidates=None):
            return [np.zeros(image.shape[:2], np.uint8) for image in images]

    assert evaluate(Noting(), memory_dataset(), output=tmp_path)["run"]["notes"] == ["4 labels"]
    assert evaluate(Noting(), memory_dataset(), output=tmp_path)["run"]["notes"] == ["4 labels"]
