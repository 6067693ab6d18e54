"""``ovbench score`` and ``ovbench datasets verify`` through the real command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from in_process import ovbench
from PIL import Image

from ovbench.harness.files.images import read_label, write_label


@pytest.fixture(autouse=True)
def _runs_lie_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ground_truth(root: Path) -> Path:
    return root / "VOCdevkit" / "VOC2012" / "SegmentationClass"


def score(folder: Path, root: Path, *more: str) -> dict:
    done = ovbench("score", folder, "--dataset", "voc", "--root", root, "--json", *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def brute_force(root: Path, folder: Path, labels: int) -> float:
    """mIoU from one pixel at a time, with sets and dictionaries."""
    both, either = dict.fromkeys(range(labels), 0), dict.fromkeys(range(labels), 0)
    val = root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "val.txt"
    for name in val.read_text().split():
        truth = np.asarray(Image.open(ground_truth(root) / f"{name}.png")).ravel().tolist()
        answer = np.asarray(Image.open(folder / f"{name}.png")).ravel().tolist()
        for t, a in zip(truth, answer, strict=True):
            if t == 255:
                continue
            for label in {t, a}:
                either[label] += 1
            both[t] += t == a
    ious = [both[c] / either[c] for c in range(labels) if either[c]]
    return 100 * sum(ious) / len(ious)


def shuffled(root: Path, folder: Path) -> Path:
    """Every label replaced by another, in part of every image."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for path in sorted(ground_truth(root).glob("*.png")):
        label = read_label(path).copy()
        order = rng.permutation(21).astype(np.uint8)
        part = (rng.random(label.shape) < 0.4) & (label != 255)
        label[part] = order[label[part]]
        write_label(folder / path.name, label)
    return folder


def test_ground_truth_scores_100_and_shuffled_labels_what_they_should(
    tiny_voc: Path, tmp_path: Path
) -> None:
    perfect = score(ground_truth(tiny_voc), tiny_voc)
    assert perfect["metrics"]["miou"] == 100.0
    assert perfect["metrics"]["boundary_iou"] == 100.0
    assert perfect["run"]["method"] == "SegmentationClass"
    folder = shuffled(tiny_voc, tmp_path / "shuffled")
    result = score(folder, tiny_voc)
    assert result["metrics"]["miou"] == pytest.approx(brute_force(tiny_voc, folder, 21), abs=1e-9)


def test_the_same_on_real_images(sample_data: Path, tmp_path: Path) -> None:
    root = sample_data / "voc"
    assert score(ground_truth(root), root)["metrics"]["miou"] == 100.0
    folder = shuffled(root, tmp_path / "shuffled")
    result = score(folder, root)
    assert result["metrics"]["miou"] == pytest.approx(brute_force(root, folder, 21), abs=1e-9)


def test_files_in_the_datasets_own_encoding(tiny_voc: Path, tmp_path: Path) -> None:
    options = ("--background", "ignore", "--encoding", "dataset")
    result = score(ground_truth(tiny_voc), tiny_voc, *options)
    assert result["metrics"]["miou"] == 100.0
    assert len(result["per_class"]) == 20


def test_changed_files_are_another_run(tiny_voc: Path, tmp_path: Path) -> None:
    folder = shuffled(tiny_voc, tmp_path / "mine")
    before = score(folder, tiny_voc)
    for path in ground_truth(tiny_voc).glob("*.png"):
        (folder / path.name).write_bytes(path.read_bytes())
    after = score(folder, tiny_voc)
    assert before["metrics"]["miou"] < 100.0
    assert after["metrics"]["miou"] == 100.0


def test_saved_predictions_score_as_the_run_did(tiny_voc: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    asked = ("run", "--method", "random", "--dataset", "voc", "--root", tiny_voc)
    done = ovbench(*asked, "--save-predictions", "--json", "--output", run)
    measured = json.loads(done.stdout)
    scored = score(run / "predictions", tiny_voc)
    assert scored["metrics"] == measured["metrics"]
    assert scored["per_class"] == measured["per_class"]


def refused(*arguments: str | Path) -> str:
    done = ovbench(*arguments)
    assert done.returncode in (1, 2), done.stdout
    return done.stderr.strip().splitlines()[-1]


def test_what_is_wrong_with_a_prediction_is_named(tiny_voc: Path, tmp_path: Path) -> None:
    folder = shuffled(tiny_voc, tmp_path / "mine")
    first = folder / "2007_000027.png"
    label = read_label(first).copy()
    asked = ("score", folder, "--dataset", "voc", "--root", tiny_voc)

    write_label(first, np.where(label == 255, 255, 77).astype(np.uint8))
    line = refused(*asked)
    assert "2007_000027" in line
    assert "77" in line
    write_label(first, label[:-1])
    assert "2007_000027" in refused(*asked)
    Image.fromarray(np.zeros((*label.shape, 3), np.uint8)).save(first)
    assert f"{first}: a label map needs one index per pixel" in refused(*asked)
    first.unlink()
    assert "no prediction for image 2007_000027" in refused(*asked)
    assert "no such folder" in refused(*asked[:1], tmp_path / "no", *asked[2:])


def test_verify_finds_what_is_wrong_and_says_how_much(tiny_voc: Path, tmp_path: Path) -> None:
    asked = ("datasets", "verify", "voc", "--root", tiny_voc)
    done = ovbench(*asked)
    assert done.returncode == 0
    assert "warning: voc val has 5 images here; the official list has 1449" in done.stdout
    home = tiny_voc / "VOCdevkit" / "VOC2012"
    picture = home / "JPEGImages" / "2007_000033.jpg"
    picture.write_bytes(picture.read_bytes()[:200])
    (home / "SegmentationClass" / "2007_000061.png").unlink()
    done = ovbench(*asked)
    assert done.returncode == 2
    problems = [line for line in done.stdout.splitlines() if line.startswith("problem: ")]
    assert [str(picture) in p or "2007_000061.png: no such file" in p for p in problems] == [
        True, True
    ]  # fmt: skip
    assert "2 problems" in done.stdout


def test_a_bad_file_stops_a_run_unless_it_may_be_skipped(tiny_voc: Path, tmp_path: Path) -> None:
    picture = tiny_voc / "VOCdevkit" / "VOC2012" / "JPEGImages" / "2007_000033.jpg"
    picture.write_bytes(picture.read_bytes()[:200])
    asked = ("run", "--method", "constant", "--dataset", "voc", "--root", tiny_voc)
    line = refused(*asked)
    assert line.startswith(f"error: {picture}: ")
    done = ovbench(*asked, "--skip-bad", "--json")
    result = json.loads(done.stdout)
    assert result["run"]["complete"] is False
    assert [b["image"] for b in result["run"]["bad_images"]] == ["2007_000033"]
