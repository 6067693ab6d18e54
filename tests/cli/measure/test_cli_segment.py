from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from in_process import ovbench
from PIL import Image

from ovbench.datasets import load_dataset
from ovbench.harness.files.images import read_label

# What a log says of the work before an error.
BEGUN = ("load ", "prepare for ")


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A rendered scene, whose classes the miniature CLIP knows, in the working directory."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(load_dataset("toyworld").load(3).image).save(tmp_path / "scene.png")
    return tmp_path / "scene.png"


def test_one_picture_without_a_dataset(scene: Path) -> None:
    sample = load_dataset("toyworld_stuff").load(3)
    names = load_dataset("toyworld_stuff").vocabulary.names
    present = [names[v] for v in np.unique(sample.label)]
    asked = ("--names", ", ".join(present), "--no-background", "--labels", "labels.png")
    done = ovbench("segment", "scene.png", "-m", "maskclip", "--checkpoints", "toy", *asked)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "scene-maskclip.png"
    assert all(name in done.stdout for name in present)
    with Image.open(scene.parent / "scene-maskclip.png") as sheet:
        assert min(sheet.size) > 200
    labels = read_label(scene.parent / "labels.png")
    assert labels.shape == sample.label.shape
    truth = np.searchsorted(np.unique(sample.label), sample.label)
    assert (labels == truth).mean() > 0.5


def test_background_is_a_class_of_its_own(scene: Path) -> None:
    done = ovbench("segment", "scene.png", "-m", "constant", "--names", "cat", "-o", "out.png")
    assert done.returncode == 0, done.stderr
    assert "background" in done.stdout
    assert "100.00 %" in done.stdout
    assert (scene.parent / "out.png").exists()


def test_a_name_in_quotation_marks_may_hold_a_comma(scene: Path) -> None:
    asked = ("--names", '"people, person", cat', "--method", "constant", "--no-background")
    done = ovbench("segment", "scene.png", *asked)
    assert done.returncode == 0, done.stderr
    assert "people, person" in done.stdout
    assert '"' not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.png", "--method", "constant", "--names", "cat"), "none.png: no such file"),
        (("scene.png", "--method", "constant", "--names", " , "), "name one class or more"),
        (("scene.png", "--method", "constant", "--names", "cat, cat"), "each once"),
        (("scene.png", "--method", "constant", "--names", "scene.png"), "the names themselves"),
        (("scene.png", "--method", "constant", "--names", '"cat, dog'),
         '--names: "cat begins with a quotation mark'),
        (("scene.png", "--method", "konstant", "--names", "cat"), "did you mean 'constant'"),
        (("scene.png", "--method", "constant", "--names", "cat", "-o", "no/a.png"),
         "cannot be written"),
        (("scene.png", "--method", "constant", "--names", "cat", "--labels", "no/a.png"),
         "cannot be written"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(scene: Path, arguments: tuple[str, ...], message: str) -> None:
    done = ovbench("segment", *arguments)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith(BEGUN)]
    assert line.startswith("error: ")
    assert message in line


def test_a_phones_picture_is_answered_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees to show"
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "phone.jpg", exif=exif)
    asked = ("--method", "constant", "--names", "cat", "--labels", tmp_path / "labels.png")
    done = ovbench("segment", tmp_path / "phone.jpg", *asked, "--output", tmp_path / "drawn.png")
    assert done.returncode == 0, done.stderr
    assert read_label(tmp_path / "labels.png").shape == (30, 20)
