"""Whatever is wrong with a file is one line that names it, from every command."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from raw_files import png
from typer.testing import CliRunner

from ovbench.cli.app import app
from ovbench.datasets import load_dataset
from ovbench.datasets.reading.verify import verify
from ovbench.errors import OvbenchError, UsageError
from ovbench.harness.files.images import write_label

Bytes = np.typing.NDArray[np.uint8]
Places = tuple[Path, Path]
"""The picture and the label file of the second of three images."""

SHAPE = (20, 30)


def noise(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (*SHAPE, 3), dtype=np.uint8))


def tree(
    root: Path, images: str, labels: str, picture: str = ".jpg", label: str = ".png"
) -> Places:
    for folder in (images, labels):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for n in range(3):
        noise(n).save(root / images / f"{n}{picture}")
        write_label(root / labels / f"{n}{label}", np.full(SHAPE, 7, np.uint8))
    return root / images / f"1{picture}", root / labels / f"1{label}"


def voc(root: Path) -> Places:
    home = "VOCdevkit/VOC2012"
    (root / home / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / home / "ImageSets" / "Segmentation" / "val.txt").write_text("0\n1\n2\n")
    return tree(root, f"{home}/JPEGImages", f"{home}/SegmentationClass")


def context(root: Path) -> Places:
    home = "VOCdevkit/VOC2010"
    (root / home / "ImageSets" / "SegmentationContext").mkdir(parents=True)
    (root / home / "ImageSets" / "SegmentationContext" / "val.txt").write_text("0\n1\n2\n")
    return tree(root, f"{home}/JPEGImages", f"{home}/SegmentationClassContext")


def ade20k(root: Path) -> Places:
    home = "ADEChallengeData2016"
    return tree(root, f"{home}/images/validation", f"{home}/annotations/validation")


def cocostuff(root: Path) -> Places:
    return tree(root, "val2017", "stuffthingmaps/val2017")


def cityscapes(root: Path) -> Places:
    suffixes = "_leftImg8bit.png", "_gtFine_labelIds.png"
    return tree(root, "leftImg8bit/val/bonn", "gtFine/val/bonn", *suffixes)


def folder(root: Path) -> Places:
    (root / "classes.txt").write_text("".join(f"class {i}\n" for i in range(9)))
    return tree(root, "images", "masks")


TREES = {"voc": voc, "context": context, "ade20k": ade20k, "cocostuff": cocostuff,
         "cocoobject": cocostuff, "cityscapes": cityscapes, "folder": folder}  # fmt: skip


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def pipe(path: Path) -> None:
    """Whoever opens it waits for a writer, without an end."""
    path.unlink()
    os.mkfifo(path)


def saved_header(path: Path) -> None:
    """A picture that needs 6.4 GB, in a file of 78 bytes."""
    path.write_bytes(png(b"", 40_000, 40_000))


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def saved(array: np.typing.NDArray[np.generic], **options: object) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(array).save(path, **options)


PICTURES: list[tuple[str, Callable[[Path], object], str]] = [
    ("truncated", truncated, r"corrupt \(|not an image"),
    ("empty", lambda p: p.write_bytes(b""), "not an image|corrupt"),
    ("html", lambda p: p.write_text("<html>404 not found</html>"), "not an image"),
    ("missing", lambda p: p.unlink(), "no such file"),
    ("loop", loop, r"no such file|cannot be read \(Too many levels of symbolic links\)"),
    ("another size", lambda p: noise(9).resize((40, 40)).save(p), "do not belong together"),
    ("a pipe", pipe, r"cannot be read \(a pipe, socket or device\)"),
    ("too large", saved_header, r"40000x40000 pixels; files of up to 268,435,456 pixels are read"),
]
LABELS: list[tuple[str, Callable[[Path], object], str]] = [
    *[case for case in PICTURES if case[0] != "another size"],
    ("RGB", saved(np.zeros((*SHAPE, 3), np.uint8)), "this file's mode is RGB"),
    ("16 bits", saved(np.full(SHAPE, 60_000, np.uint16)), r"values \[60000\] are unknown to"),
    ("a value too high", saved(np.full(SHAPE, 200, np.uint8)), r"values \[200\] are unknown to"),
    ("another size", saved(np.full((9, 9), 7, np.uint8)), "9x9 pixels, .* belong together"),
    ("floats", saved(np.full(SHAPE, 0.5, np.float32), format="TIFF"), "whole numbers .* holds 0.5"),
    ("JPEG", saved(np.zeros(SHAPE, np.uint8), format="JPEG"), "holds JPEG data, .* are PNG"),
]


@pytest.mark.parametrize("benchmark", TREES)
@pytest.mark.parametrize(
    ("which", "spoil", "message"),
    [(0, spoil, message) for _, spoil, message in PICTURES]
    + [(1, spoil, message) for _, spoil, message in LABELS],
    ids=[f"picture: {name}" for name, *_ in PICTURES] + [f"label: {name}" for name, *_ in LABELS],
)
def test_one_line_names_the_file(
    tmp_path: Path, benchmark: str, which: int, spoil: Callable[[Path], object], message: str
) -> None:
    path = TREES[benchmark](tmp_path)[which]
    spoil(path)
    report = verify(load_dataset(benchmark, root=tmp_path))
    assert report.readable == 2
    (problem,) = report.problems
    assert "\n" not in problem
    assert str(path.name) in problem or "its image" in problem
    assert re.search(message, problem), problem


@pytest.mark.parametrize("which", [0, 1])
def test_a_folder_in_the_place_of_a_file(tmp_path: Path, which: int) -> None:
    path = voc(tmp_path)[which]
    directory(path)
    (problem,) = verify(load_dataset("voc", root=tmp_path)).problems
    assert problem == f"{path}: cannot be read (Is a directory)"


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = voc(tmp_path)[1]
    opened = Image.open

    def refusing(file: Path, formats: object) -> Image.Image:
        if file == path:
            raise PermissionError(13, "Permission denied", str(file))
        return opened(file, formats=formats)

    monkeypatch.setattr(Image, "open", refusing)
    (problem,) = verify(load_dataset("voc", root=tmp_path)).problems
    assert problem == f"{path}: cannot be read (Permission denied)"


@pytest.mark.parametrize("benchmark", ["ade20k", "cocostuff", "cityscapes"])
def test_a_loop_of_folders(tmp_path: Path, benchmark: str) -> None:
    label = TREES[benchmark](tmp_path)[1]
    (label.parent / "again").symlink_to(label.parent)
    with pytest.raises(UsageError, match="again: a link that leads back to") as caught:
        load_dataset(benchmark, root=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("benchmark", TREES)
def test_an_empty_split(tmp_path: Path, benchmark: str) -> None:
    picture, label = TREES[benchmark](tmp_path)
    for file in [*picture.parent.iterdir(), *label.parent.iterdir()]:
        file.unlink()
    for listing in tmp_path.rglob("val.txt"):
        listing.write_text("\n")
    with pytest.raises(UsageError) as caught:
        load_dataset(benchmark, root=tmp_path)
    assert "\n" not in str(caught.value)


# Read as they are: what cameras and converters leave.
UNUSUAL = {
    "grey": noise(1).convert("L"),
    "CMYK": noise(1).convert("CMYK"),
    "palette": noise(1).convert("P"),
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_an_unusual_picture_is_read(tmp_path: Path, kind: str) -> None:
    picture, _ = voc(tmp_path)
    if kind == "palette":
        UNUSUAL[kind].save(picture, "PNG")  # named .jpg, as some archives have it
    else:
        UNUSUAL[kind].save(picture)
    assert load_dataset("voc", root=tmp_path).load(1).image.shape == (*SHAPE, 3)


def test_a_turned_picture_lies_under_its_labels(tmp_path: Path) -> None:
    picture, _ = voc(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    noise(1).save(picture, exif=exif)
    assert load_dataset("voc", root=tmp_path).load(1).image.shape == (*SHAPE, 3)


def test_a_run_ends_with_the_same_line(tmp_path: Path) -> None:
    _, label = voc(tmp_path)
    truncated(label)
    arguments = ["run", "--method", "constant", "--dataset", "voc", "--root", str(tmp_path),
                 "--output", str(tmp_path / "run")]  # fmt: skip
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, OvbenchError)
    assert done.exception.exit_code == 2
    assert str(done.exception).startswith(f"{label}: corrupt (")
    again = CliRunner().invoke(app, [*arguments, "--skip-bad"])
    assert again.exit_code == 0
    assert "1 unreadable image left out" in again.stdout


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for benchmark in TREES:
        with pytest.raises(UsageError, match=r"is not here|not there"):
            load_dataset(benchmark, root=tmp_path / "file")
    assert os.listdir(tmp_path) == ["file"]
