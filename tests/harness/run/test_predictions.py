"""Label maps made elsewhere: how they are found, read and held against the ground truth."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ovbench.datasets import load_dataset
from ovbench.errors import DataError, OvbenchError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import Dataset
from ovbench.harness.files.images import write_label
from ovbench.harness.results.readings import shift_warnings
from ovbench.harness.results.store import RunStore
from ovbench.harness.run.counting import RunningMiou
from ovbench.harness.run.predictions import PredictionFiles, score_folder
from ovbench.harness.run.runner import Options

VOID = 255


def answers(dataset: Dataset, folder: Path, change: Callable[[LabelMap, int], LabelMap]) -> Path:
    """A folder with one map per image, made from the ground truth."""
    for index, name in enumerate(dataset.ids):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_label(path, change(dataset.load(index).label.copy(), index).astype(np.uint8))
    return folder


def partly(label: LabelMap, index: int) -> LabelMap:
    """Wrong somewhere, void somewhere else, scored pixels among them."""
    rng = np.random.default_rng(index)
    label[rng.random(label.shape) < 0.3] = rng.integers(0, 4)
    label[rng.random(label.shape) < 0.2] = VOID
    return label


def by_hand(dataset: Dataset, maps: list[LabelMap], left_out: bool) -> tuple[float, float]:
    """mIoU and pixel accuracy, one pixel at a time.

    Whoever counts misses takes them off no class's prediction: the histograms of
    mmsegmentation's ``intersect_and_union`` hold only labels, the sum of false negatives of
    Cityscapes' script all there is in a row.
    """
    n = len(dataset.vocabulary)
    both, true, said = [0] * n, [0] * n, [0] * n
    for index, answer in enumerate(maps):
        truth = dataset.load(index).label
        for t, a in zip(truth.ravel().tolist(), answer.ravel().tolist(), strict=True):
            if t == VOID or (left_out and a == VOID):
                continue
            true[t] += 1
            if a != VOID:
                said[a] += 1
            both[t] += t == a
    ious = [b / (t + s - b) for b, t, s in zip(both, true, said, strict=True) if t + s]
    return 100 * sum(ious) / len(ious), 100 * sum(both) / sum(true)


@pytest.mark.parametrize("rule", ["miss", "ignore"])
def test_no_answer_is_a_miss_or_left_out(memory_dataset: Any, tmp_path: Path, rule: Any) -> None:
    dataset = memory_dataset()
    folder = answers(dataset, tmp_path / "mine", partly)
    result = score_folder(folder, dataset, unanswered=rule, output=tmp_path / "run")
    assert result is not None
    maps = [partly(dataset.load(i).label.copy(), i) for i in range(dataset.count)]
    miou, accuracy = by_hand(dataset, maps, left_out=rule == "ignore")
    assert result["metrics"]["miou"] == pytest.approx(miou, abs=1e-9)
    assert result["metrics"]["pixel_accuracy"] == pytest.approx(accuracy, abs=1e-9)
    assert result["config"]["unanswered"] == rule
    again = RunningMiou(len(dataset.vocabulary))
    for record in RunStore(tmp_path / "run").records().images.values():
        again.add(record.confusion)
    assert again.value() == pytest.approx(miou, abs=1e-9)


def test_no_answer_is_refused_with_the_value_in_the_file(tmp_path: Path, sixes: Dataset) -> None:
    """0 is void in ADE20K's own files, and what its labels call 255."""
    folder = answers(sixes, tmp_path / "mine", lambda label, _: np.zeros_like(label))
    first = folder / f"{sixes.ids[0]}.png"
    with pytest.raises(DataError) as caught:
        score_folder(folder, sixes, encoding="dataset", output=tmp_path / "run")
    line = str(caught.value)
    assert line.startswith(f"{first}: the value 0 is no label, on 400 pixels of image ")
    assert "--unanswered miss" in line
    assert "--unanswered ignore" in line


@pytest.fixture
def sixes(tmp_path: Path) -> Dataset:
    """ADE20K with three images, whose labels are 5 (6 in the files), 4 and 3."""
    home = tmp_path / "data" / "ADEChallengeData2016"
    for kind in ("images", "annotations"):
        (home / kind / "validation").mkdir(parents=True)
    for number in range(3):
        name = f"ADE_val_0000000{number}"
        picture = Image.fromarray(np.full((20, 30, 3), 99, np.uint8))
        picture.save(home / "images" / "validation" / f"{name}.jpg")
        label = np.full((20, 30), 6 - number, np.uint8)
        label[:, :10] = 0
        write_label(home / "annotations" / "validation" / f"{name}.png", label)
    return load_dataset("ade20k", root=tmp_path / "data")


def test_files_in_another_encoding_than_named_are_noticed(tmp_path: Path, sixes: Dataset) -> None:
    """As the sample predictions of ADE20K's development kit: equal to its label files."""
    theirs = tmp_path / "data" / "ADEChallengeData2016" / "annotations" / "validation"
    wrong = score_folder(theirs, sixes, output=tmp_path / "wrong")
    assert wrong is not None
    assert wrong["metrics"]["miou"] == 0.0
    encoding, shift = (line for line in wrong["run"]["warnings"] if "may be" in line)
    assert encoding == (
        "--encoding index may be wrong: --encoding dataset would raise pixel accuracy, on the "
        "images that were tried, from 0.0 to 100.0"
    )
    assert shift.startswith("predictions may be off by one: with every label less by one,")
    right = score_folder(theirs, sixes, encoding="dataset", output=tmp_path / "right")
    assert right is not None
    assert right["metrics"]["miou"] == 100.0
    assert not any("encoding" in w or "off by one" in w for w in right["run"]["warnings"])
    indices = answers(sixes, tmp_path / "indices", lambda label, _: label)
    with pytest.raises(DataError, match=r"value 0 is no label.*; .*--encoding index would raise"):
        score_folder(
            answers(sixes, tmp_path / "zeros", lambda label, i: label * (i > 0)),
            load_dataset("ade20k", root=tmp_path / "data"),
            encoding="dataset",
            output=tmp_path / "zeros-run",
        )
    other = score_folder(
        indices, sixes, encoding="dataset", unanswered="miss", output=tmp_path / "other"
    )
    assert other is not None
    assert any("--encoding index would raise" in line for line in other["run"]["warnings"])


def test_voc_files_on_voc20_are_noticed(tiny_voc: Path, tmp_path: Path) -> None:
    theirs = tiny_voc / "VOCdevkit" / "VOC2012" / "SegmentationClass"
    dataset = load_dataset("voc20", root=tiny_voc)
    with pytest.raises(DataError, match=r"holds the value 20; with --encoding index values are "
                       r"0 to 19; its values are ones of the dataset's own files, which "
                       r"--encoding dataset reads"):  # fmt: skip
        score_folder(theirs, dataset, output=tmp_path / "a")
    for path in theirs.glob("*.png"):
        label = np.asarray(Image.open(path)).copy()
        label[label == 20] = 1
        write_label(path, label)
    result = score_folder(theirs, dataset, output=tmp_path / "b")
    assert result is not None
    assert any("--encoding dataset would raise" in w for w in result["run"]["warnings"])


def test_an_ordinary_answer_raises_no_doubt(memory_dataset: Any, tmp_path: Path) -> None:
    dataset = memory_dataset()
    folder = answers(dataset, tmp_path / "mine", lambda label, _: label * 0)
    result = score_folder(folder, dataset, output=tmp_path / "run")
    assert result is not None
    assert not any("encoding" in w or "off by one" in w for w in result["run"]["warnings"])


def test_nothing_was_timed(memory_dataset: Any, tmp_path: Path) -> None:
    dataset = memory_dataset()
    folder = answers(dataset, tmp_path / "mine", lambda label, _: label)
    result = score_folder(folder, dataset, output=tmp_path / "run")
    assert result is not None
    profile = result["profile"]
    assert profile["per_image_s"] == {"mean": None, "p50": None, "p95": None}
    assert profile["images_per_s"] is None
    assert profile["prepare_s"] is None
    assert profile["peak_rss_bytes"] is None
    assert profile["images_measured"] == 0


@pytest.mark.parametrize(
    "name", ["{id}.png", "{last}.png", "{last}_leftImg8bit.png", "{city}/{last}_leftImg8bit_x.png"]
)
def test_cityscapes_own_names_are_found(tmp_path: Path, name: str) -> None:
    image = "frankfurt/frankfurt_000000_000294"
    city, _, last = image.partition("/")
    path = tmp_path / name.format(id=image, city=city, last=last)
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert PredictionFiles(tmp_path, [image, "munster/munster_000000_000019"]).find(image) == path


def test_a_file_that_two_images_could_mean_is_neithers(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match="no prediction for image x/a"):
        PredictionFiles(tmp_path, ["x/a", "y/a"]).find("x/a")
    for end in ("", "_pred"):
        (tmp_path / f"b_leftImg8bit{end}.png").touch()
    with pytest.raises(DataError, match=r"b_leftImg8bit_pred\.png is a prediction for x/b, too"):
        PredictionFiles(tmp_path, ["x/b"]).find("x/b")


def test_what_cannot_be_read_stops_or_is_left_out(memory_dataset: Any, tmp_path: Path) -> None:
    dataset = memory_dataset(count=4)
    folder = answers(dataset, tmp_path / "mine", lambda label, _: label)
    first, second, *_ = (folder / f"{name}.png" for name in dataset.ids)
    first.unlink()
    second.unlink()
    second.symlink_to(tmp_path / "gone.png")
    (folder / os.fsdecode(b"caf\xe9.png")).touch()
    with pytest.raises(DataError, match=rf"{first}: no prediction for image image-000"):
        score_folder(folder, dataset, output=tmp_path / "run")
    skipping = Options(skip_bad=True)
    result = score_folder(folder, dataset, output=tmp_path / "skipping", options=skipping)
    assert result is not None
    bad = {one["image"]: one["reason"] for one in result["run"]["bad_images"]}
    assert list(bad) == ["image-000", "image-001"]
    assert "no prediction" in bad["image-000"]
    assert "gone.png, which is not there" in bad["image-001"]
    assert result["run"]["complete"] is False
    assert result["metrics"]["miou"] == 100.0


def test_a_linked_folder_whose_files_changed_is_another_run(
    memory_dataset: Any, tmp_path: Path
) -> None:
    dataset = memory_dataset(count=2)
    behind = answers(dataset, tmp_path / "behind", lambda label, _: label)
    folder = tmp_path / "mine"
    folder.mkdir()
    for path in behind.iterdir():
        (folder / path.name).symlink_to(path)
    score_folder(folder, dataset, output=tmp_path / "run")
    answers(dataset, behind, lambda label, _: np.where(label == 1, 2, label))
    with pytest.raises(OvbenchError, match=r"holds another run .*files_sha256"):
        score_folder(folder, dataset, output=tmp_path / "run")


def test_labels_off_by_one_are_noticed_in_any_run(memory_dataset: Any) -> None:
    from ovbench.harness.metrics.scores import confusion
    from ovbench.harness.metrics.tally import Tally

    pairs = [memory_dataset().load(i).label for i in range(3)]
    counted = [confusion(t, np.where(t == VOID, 0, t + 1).astype(np.uint8), 5) for t in pairs]
    (words,) = shift_warnings(Tally.of(counted, 5).confusion)
    assert words.startswith("predictions may be off by one: with every label less by one, pixel")
    right = [confusion(t, np.where(t == VOID, 0, t), 4) for t in pairs]
    assert shift_warnings(Tally.of(right, 4).confusion) == []
    assert shift_warnings(Tally(4).confusion) == []


def test_a_pipe_in_place_of_a_map_is_not_waited_for(memory_dataset: Any, tmp_path: Path) -> None:
    dataset = memory_dataset(count=2)
    folder = answers(dataset, tmp_path / "mine", lambda label, _: label)
    path = folder / f"{dataset.ids[0]}.png"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match=r"cannot be read \(a pipe, socket or device\)"):
        score_folder(folder, dataset, output=tmp_path / "run")


def test_names_that_are_not_utf8_are_kept_as_they_are(memory_dataset: Any, tmp_path: Path) -> None:
    dataset, odd = memory_dataset(count=2), os.fsdecode(b"caf\xe9")
    folder = answers(dataset, tmp_path / odd, lambda label, _: label)
    typed = Options(command=f"ovbench score {folder}")
    for _ in range(2):  # the second time it is read again
        result = score_folder(folder, dataset, name=odd, output=tmp_path / "run", options=typed)
        assert result is not None
        assert result["run"]["method"] == odd
    assert RunStore(tmp_path / "run").records().sessions[0].command == typed.command
    default = score_folder(folder, dataset, output=tmp_path / "default")
    assert default is not None
    assert default["run"]["method"] == "caf\N{REPLACEMENT CHARACTER}"
