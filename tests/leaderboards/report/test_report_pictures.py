"""Pictures are of the right images, and say where they are not what was counted."""

from __future__ import annotations

import io
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import DatasetInfo, Sample
from ovbench.harness.files.images import read_label, write_label
from ovbench.harness.run.predictions import score_folder
from ovbench.harness.run.replay import Replay
from ovbench.leaderboards.report.contents import read_contents
from ovbench.leaderboards.report.pictures import BOX, Picture, Source, draw


def pixels(picture: Picture | None) -> Any:
    assert picture is not None
    head, _, content = picture.uri.partition(",")
    assert head == "data:image/webp;base64"
    with Image.open(io.BytesIO(b64decode(content))) as opened:
        assert opened.size == (picture.width, picture.height)
        return np.asarray(opened.convert("RGB")).astype(int)


def source(contents: Any, dataset: Any, place: int = 0) -> Source:
    measured = contents.runs[place].measured
    return Source(dataset, Replay(measured.path, measured.identity, dataset))


def test_kept_predictions_are_shown_as_they_were_counted(memory_dataset: Any, made: Any) -> None:
    dataset = memory_dataset()
    contents = read_contents([made(dataset)], 2)
    drawn = draw(contents, [source(contents, dataset)])
    shown = [one.image for one in contents.chosen]
    assert list(drawn.samples) == list(drawn.answers[0]) == shown
    for name in shown:
        sample = dataset.load(dataset.ids.index(name))
        picture = pixels(drawn.samples[name].image)
        assert max(picture.shape[1] / BOX[0], picture.shape[0] / BOX[1]) == 1
        assert np.abs(picture.mean((0, 1)) - sample.image.mean((0, 1))).max() < 6
        answer = drawn.answers[0][name]
        assert (answer.again, answer.note) == (False, "")
        assert pixels(answer.prediction).shape == pixels(answer.errors).shape == picture.shape
    assert drawn.differences == [()]


def test_another_prediction_than_was_counted_is_told(memory_dataset: Any, made: Any) -> None:
    dataset = memory_dataset()
    run = made(dataset)
    contents = read_contents([run], 1)
    worst, _, best = (one.image for one in contents.chosen)
    file = run / "predictions" / f"{worst}.png"
    write_label(file, np.zeros_like(read_label(file)))
    write_label(run / "predictions" / f"{best}.png", np.zeros((3, 3), np.uint8))
    answers = draw(contents, [source(contents, dataset)]).answers[0]
    then = contents.miou(0, worst)
    sample = dataset.load(dataset.ids.index(worst))
    truth = sample.label[sample.label != 255]
    here = 100 * (truth == 0).mean() / len(set(truth.tolist()) | {0})
    assert answers[worst].note == (
        "The kept prediction or the label is not the one that was counted: "
        f"mIoU {here:.2f} here, {then:.2f} in the record."
    )
    assert answers[worst].differs
    assert answers[best].prediction is None
    assert answers[best].note.startswith("No prediction: prediction has shape (3, 3)")


@pytest.mark.parametrize("rule", ["miss", "ignore"])
def test_scored_maps_are_shown_as_they_were_counted(
    memory_dataset: Any, tmp_path: Path, rule: Any
) -> None:
    dataset, run = memory_dataset(count=3), tmp_path / "run"
    for index, name in enumerate(dataset.ids):
        label = dataset.load(index).label
        label[4:6] = 255  # no answer where one is due
        (run / "predictions").mkdir(parents=True, exist_ok=True)
        write_label(run / "predictions" / f"{name}.png", label)
    score_folder(run / "predictions", dataset, unanswered=rule, output=run)
    contents = read_contents([run], 2)
    answers = draw(contents, [source(contents, dataset)]).answers[0]
    assert [one.note for one in answers.values()] == [""] * len(answers)


@dataclass(frozen=True)
class Again:
    labels: LabelMap | None
    again: bool = True
    problem: str = ""


class Other:
    differences = ("its version is 2, it was 1",)

    def answer(self, sample: Sample) -> Again:
        return Again(np.zeros(sample.label.shape, np.uint8))


def test_another_answer_when_asked_again_is_told(memory_dataset: Any, made: Any) -> None:
    dataset = memory_dataset()
    contents = read_contents([made(dataset, save_predictions=False)], 1)
    drawn = draw(contents, [Source(dataset, Other())])
    for answer in drawn.answers[0].values():
        assert answer.again
        assert answer.note.startswith("Asked again, the method answers otherwise: mIoU ")
    assert drawn.differences == [Other.differences]


def test_an_unreadable_image_is_told(memory_dataset: Any, made: Any) -> None:
    dataset = memory_dataset()
    contents = read_contents([made(dataset)], 1)
    gone = contents.chosen[0].image
    dataset.spoil(dataset.ids.index(gone))
    drawn = draw(contents, [source(contents, dataset)])
    assert drawn.problems == {gone: f"{gone}.jpg: truncated"}
    assert gone not in drawn.samples
    assert len(drawn.samples) == 2


def test_background_has_its_colour_only_where_it_is_a_label(memory_dataset: Any, made: Any) -> None:
    scenes = [memory_dataset(info=DatasetInfo("memory", "val", rule)) for rule in ("class", "none")]
    colours = []
    for rule, dataset in zip(("class", "none"), scenes, strict=True):
        contents = read_contents([made(dataset, rule)], 2)
        colours.append(draw(contents, [source(contents, dataset)]).colours)
    assert colours[0][0] == (70, 70, 80) != colours[1][0]
    assert len(set(colours[1].values())) == 4


def test_label_files_that_are_not_there_are_asked_for(memory_dataset: Any, made: Any) -> None:
    dataset = memory_dataset()
    contents = read_contents([made(dataset, save_predictions=False)], 1)
    identity = contents.reference.measured.identity
    identity["method"]["version"] = "label files"  # type: ignore[index]
    (answer, *_) = draw(contents, [source(contents, dataset)]).answers[0].values()
    assert "the run scored label files; copy or link them" in answer.note


def test_a_method_that_is_not_registered(memory_dataset: Any, made: Any) -> None:
    dataset = memory_dataset()
    contents = read_contents([made(dataset, save_predictions=False)], 1)
    notes = {one.note for one in draw(contents, [source(contents, dataset)]).answers[0].values()}
    (note,) = notes
    assert note.startswith("No prediction: no method 'Channel'; there are: ")
    with pytest.raises(UsageError):
        read_contents([contents.reference.measured.path / "nothing"], 1)
