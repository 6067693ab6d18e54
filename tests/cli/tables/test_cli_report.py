"""``ovbench report`` on real runs, from the command line to the file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ovbench.cli.app import app


def ovbench(*arguments: str | Path) -> str:
    """The command in this process; it must do well."""
    result = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def run(path: Path, *more: str | Path, method: str = "random", dataset: str = "toyworld") -> Path:
    ovbench("run", "--method", method, "--dataset", dataset, "--device", "cpu", *more,
            "--output", path)  # fmt: skip
    return path


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return tmp_path / "report.html"


def test_predictions_that_were_kept(tmp_path: Path, report: Path) -> None:
    made = run(tmp_path / "run", "--limit", "9", "--save-predictions")
    assert ovbench("report", made, "--images", "2", "-o", report) == f"{report}\n"
    text = report.read_text()
    assert text.count("<article") == 6
    assert text.count("<figcaption>errors") == 6
    assert "made again" not in text
    assert "differ" not in text.partition("<script>")[0]
    again = tmp_path / "again.html"
    ovbench("report", made, "--images", "2", "-o", again)
    assert again.read_bytes() == report.read_bytes()


def test_predictions_that_are_made_again(tmp_path: Path, report: Path) -> None:
    made = run(tmp_path / "run", "--limit", "9", "--batch-size", "2", "--seed", "4")
    ovbench("report", made, "--images", "2", "--device", "cpu", "-o", report)
    text = report.read_text()
    assert text.count("<figcaption>errors") == 6
    words = "6 predictions were not kept and were made again; none of all 6 differ"
    assert words in text


def test_several_runs(tmp_path: Path, report: Path) -> None:
    runs = [run(tmp_path / "a", "--limit", "9"), run(tmp_path / "b", "--limit", "8", "--seed", "1"),
            run(tmp_path / "c", "--limit", "9", method="constant")]  # fmt: skip
    ovbench("report", *runs, "--images", "1", "-o", report)
    text = report.read_text()
    assert "<title>random and random and constant on toyworld val</title>" in text
    assert "only the 8 images that both runs hold, of up to 9" in text
    assert "C against A: " in text
    assert text.count("<figcaption>C prediction") == text.count("<article")


def test_no_pictures(tmp_path: Path, report: Path) -> None:
    made = run(tmp_path / "run", "--limit", "4")
    ovbench("report", made, "--no-pictures", "-o", report)
    text = report.read_text()
    assert "No pictures, as asked for with --no-pictures." in text
    assert "<img" not in text
    assert text.count("<article") == 4


def test_a_dataset_that_is_gone(
    tmp_path: Path, tiny_voc: Path, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OVBENCH_DATA", raising=False)
    made = run(tmp_path / "run", "--root", tiny_voc, dataset="voc")
    ovbench("report", made, "-o", report)
    text = report.read_text()
    assert "No pictures: voc needs --root DIR or OVBENCH_DATA" in text
    assert f"To have them: ovbench report {made} --root DIR" in text
    ovbench("report", made, "--root", tiny_voc, "-o", report)
    assert report.read_text().count("<figcaption>errors") == 5


def test_image_prompts_are_shown(tmp_path: Path, report: Path) -> None:
    for name in ("cup", "dog"):
        for number in range(4):
            image, mask = np.full((30, 40, 3), 90, np.uint8), np.zeros((30, 40), np.uint8)
            mask[: 8 + 4 * number, :20] = 255
            for folder, array in (("Images", image), ("Annotations", mask)):
                suffix = "jpg" if folder == "Images" else "png"
                path = tmp_path / "PerSeg" / folder / name / f"{number:02d}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    made = run(tmp_path / "run", "--root", tmp_path, dataset="perseg")
    ovbench("report", made, "--root", tmp_path, "-o", report)
    text = report.read_text()
    assert text.count("<article") == 6
    for caption in ("prompt", "image", "ground truth", "prediction", "errors"):
        assert text.count(f"<figcaption>{caption}<") == 6
    assert "none of all 6 differ" in text


def test_label_files(tmp_path: Path, tiny_voc: Path, report: Path) -> None:
    folder = tiny_voc / "VOCdevkit" / "VOC2012" / "SegmentationClass"
    made = tmp_path / "run"
    ovbench("score", folder, "--dataset", "voc", "--root", tiny_voc, "--encoding", "dataset",
            "--output", made)  # fmt: skip
    ovbench("report", made, "--root", tiny_voc, "-o", report)
    assert "the run scored label files; copy or link them" in report.read_text()
    (made / "predictions").symlink_to(folder)
    ovbench("report", made, "--root", tiny_voc, "-o", report)
    text = report.read_text()
    assert "label files; copy" not in text
    assert text.count("<figcaption>errors") == 5
    assert "differ from what" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "nothing: no run here"),
        (
            ("run", "other", "-o", "x.html"),
            "not of the same benchmark: name toyworld and toyworld_",
        ),
        (("run", "--no-pictures", "-o", "no/folder.html"), "no/folder.html: cannot be written"),
    ],
)
def test_what_is_wrong_is_one_line(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    run(tmp_path / "run", "--limit", "2")
    run(tmp_path / "other", "--limit", "2", dataset="toyworld_stuff")
    command = [sys.executable, "-m", "ovbench", "report", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_the_default_file_is_named_after_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    a, b = run(Path("a"), "--limit", "2"), run(Path("b"), "--limit", "2", "--seed", "1")
    assert ovbench("report", a, "--no-pictures") == "a.html\n"
    assert ovbench("report", a, b, "--no-pictures") == "a-vs-b.html\n"
    assert re.search("<title>random on toyworld val</title>", Path("a.html").read_text())
