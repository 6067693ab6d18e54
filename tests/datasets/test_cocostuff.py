from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovbench.datasets import load_dataset
from ovbench.datasets.cocostuff import converted_encoding, official_encoding
from ovbench.datasets.reading.verify import verify
from ovbench.errors import DataError, UsageError
from ovbench.harness.files.images import write_label

Bytes = np.typing.NDArray[np.uint8]

SEPARATE = ("val2017", "stuffthingmaps/val2017", "{}.png")
ONE_FOLDER = ("val2017", "val2017", "{}.png")
FOLDER_OF_ARCHIVE = ("val2017", "stuffthingmaps_trainval2017/val2017", "{}.png")
MMSEG = ("coco_stuff164k/images/val2017", "coco_stuff164k/annotations/val2017",
         "{}_labelTrainIds.png")  # fmt: skip
INSIDE_MMSEG = ("images/val2017", "annotations/val2017", "{}_labelTrainIds.png")
ITS_OWN_CODE = ("images/val2017", "annotations/val2017", "{}.png")
BEFORE_MMSEG = (*MMSEG[:2], "{}.png")
CAT_SEG = ("coco-stuff/images/val2017", "coco-stuff/annotations/val2017", "{}.png")
AFTER_CAT_SEG = ("coco-stuff/images/val2017", "coco-stuff/annotations_detectron2/val2017", "{}.png")
MAPS_BESIDE_IMAGES = ("images/val2017", "stuffthingmaps/val2017", "{}.png")
DETECTRON2 = ("coco/val2017", "coco/stuffthingmaps/val2017", "{}.png")


def tree(root: Path, layout: tuple[str, str, str], **labels: Bytes) -> Path:
    """A folder of the layout with these label maps and grey pictures of their sizes."""
    images, folder, pattern = layout
    for part in (images, folder):
        (root / part).mkdir(parents=True, exist_ok=True)
    for name, label in labels.items():
        write_label(root / folder / pattern.format(name), label)
        Image.fromarray(np.full((*label.shape, 3), 99, np.uint8)).save(
            root / images / f"{name}.jpg"
        )
    return root


def row(*values: int) -> Bytes:
    return np.array([values], dtype=np.uint8)


def test_ids_of_categories_become_labels_without_gaps() -> None:
    stored = row(0, 10, 12, 46, 66, 69, 89, 91, 181, 255)
    expected = row(0, 10, 11, 41, 60, 61, 79, 80, 170, 255)
    assert (official_encoding().decode(stored, Path("x")) == expected).all()
    decoded = [
        int(official_encoding().decode(row(value), Path("x"))[0, 0])
        for value in range(182)
        if value not in (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)
    ]
    assert decoded == list(range(171))


def test_converted_labels_stay_as_they_are() -> None:
    stored = row(*range(171), 255)
    assert (converted_encoding().decode(stored, Path("x")) == stored).all()


@pytest.mark.parametrize("unknown", [11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90, 182, 254])
def test_a_label_file_with_an_unknown_value_is_named(tmp_path: Path, unknown: int) -> None:
    dataset = load_dataset("cocostuff", root=tree(tmp_path, SEPARATE, a=row(0, unknown)))
    with pytest.raises(DataError, match=rf"\[{unknown}\] are unknown to cocostuff") as caught:
        dataset.load(0)
    assert str(caught.value).startswith(f"{tmp_path / 'stuffthingmaps/val2017/a.png'}: ")


def test_a_converted_file_holds_no_label_behind_the_last(tmp_path: Path) -> None:
    dataset = load_dataset("cocostuff", root=tree(tmp_path, MMSEG, a=row(170, 171)))
    with pytest.raises(DataError, match=r"a_labelTrainIds\.png: label values \[171\] are unknown"):
        dataset.load(0)


@pytest.mark.parametrize(
    ("layout", "labels"),
    [
        (SEPARATE, row(79, 102, 255)),
        (ONE_FOLDER, row(79, 102, 255)),
        (FOLDER_OF_ARCHIVE, row(79, 102, 255)),
        (MMSEG, row(79, 102, 255)),
        (INSIDE_MMSEG, row(79, 102, 255)),
        (ITS_OWN_CODE, row(79, 102, 255)),
        (BEFORE_MMSEG, row(79, 102, 255)),
        (CAT_SEG, row(79, 102, 255)),
        (AFTER_CAT_SEG, row(79, 102, 255)),
        (MAPS_BESIDE_IMAGES, row(79, 102, 255)),
        (DETECTRON2, row(79, 102, 255)),
    ],
)
def test_every_layout_is_found(tmp_path: Path, layout: tuple[str, str, str], labels: Bytes) -> None:
    dataset = load_dataset("cocostuff", root=tree(tmp_path, layout, b=labels, a=labels.T))
    assert dataset.ids == ["a", "b"]
    sample = dataset.load(1)
    assert sample.image.shape == (1, 3, 3)
    converted = layout in (MMSEG, INSIDE_MMSEG, AFTER_CAT_SEG)
    assert sample.label.tolist() == [[79, 102, 255] if converted else [70, 91, 255]]


def test_unconverted_files_beside_converted_ones_are_not_read(tmp_path: Path) -> None:
    root = tree(tmp_path, MMSEG, a=row(170))
    write_label(root / MMSEG[1] / "a.png", row(181))
    dataset = load_dataset("cocostuff", root=root)
    assert dataset.ids == ["a"]
    assert dataset.load(0).label.tolist() == [[170]]


def test_files_of_objects_beside_the_official_ones_are_no_images(tmp_path: Path) -> None:
    root = tree(tmp_path, BEFORE_MMSEG, a=row(181))
    write_label(root / BEFORE_MMSEG[1] / "a_instanceTrainIds.png", row(3))
    dataset = load_dataset("cocostuff", root=root)
    assert dataset.ids == ["a"]
    assert dataset.load(0).label.tolist() == [[170]]


def test_a_folder_of_label_files_is_no_folder_of_pictures(tmp_path: Path) -> None:
    root = tree(tmp_path, ("images/val2017", "val2017", "{}.png"), a=row(0))
    assert load_dataset("cocostuff", root=root).load(0).label.tolist() == [[0]]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            "VOCdevkit/VOC2012/annotations_detectron2",
            r"\(CAT-Seg's conversion\), which is not read",
        ),
        ("coco/annotations/panoptic_val2017", r"\(panoptic segments\), which is not read"),
        ("data/validation-00000-of-00002.parquet", r"\(tables of the Hugging Face hub\), which"),
    ],
)
@pytest.mark.parametrize(
    "benchmark",
    ["voc", "context", "cocoobject", "cocostuff", "ade20k", "cityscapes", "coco20i", "fss1000",
     "perseg"],
)  # fmt: skip
def test_what_is_there_instead_is_said(
    tmp_path: Path, benchmark: str, made: str, said: str
) -> None:
    (tmp_path / made).mkdir(parents=True)
    if benchmark == "context":
        (tmp_path / "VOC2010/JPEGImages").mkdir(parents=True)
    named = rf"^{tmp_path}: {benchmark} is not here; looked for .*; found {made} {said}"
    with pytest.raises(UsageError, match=named) as caught:
        load_dataset(benchmark, root=tmp_path)
    assert "\n" not in str(caught.value)


def test_every_place_that_was_looked_at_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_dataset("cocostuff", root=tmp_path)
    for place in (
        "stuffthingmaps/val2017/*.png", "stuffthingmaps_trainval2017/val2017/*.png",
        "annotations/val2017/*_labelTrainIds.png", "annotations/val2017/*.png",
        "annotations_detectron2/val2017/*.png", "coco_stuff164k", "coco-stuff", "coco",
    ):  # fmt: skip
        assert place in str(caught.value)


def test_names_and_kinds_are_in_the_benchmark_s_order(tmp_path: Path) -> None:
    vocabulary = load_dataset("cocostuff", root=tree(tmp_path, SEPARATE, a=row(0))).vocabulary
    assert vocabulary.background is None
    assert len(set(vocabulary.names)) == len(vocabulary) == 171
    assert [c.kind for c in vocabulary.classes] == ["thing"] * 80 + ["stuff"] * 91
    # The classes that zero-shot segmentation holds out, and their published label numbers.
    unseen = ["cow", "giraffe", "suitcase", "frisbee", "skateboard", "carrot", "scissors",
              "cardboard", "clouds", "grass", "playingfield", "river", "road", "tree",
              "wall-concrete"]  # fmt: skip
    numbers = [19, 23, 28, 29, 36, 51, 76, 88, 94, 112, 133, 136, 137, 157, 160]
    assert [vocabulary.names.index(name) for name in unseen] == numbers
    assert [vocabulary.names[i] for i in (0, 79, 80, 170)] == [
        "person", "toothbrush", "banner", "wood",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("image", "present"),
    [
        ("000000017914", {"person", "cat", "bed", "laptop", "textile-other"}),
        ("000000138805", {"person", "horse", "sand", "sea", "sky-other"}),
        ("000000197384", {"truck", "clouds", "grass", "road", "tree"}),
        ("000000184101", {"oven"}),
    ],
)
def test_real_labels_name_what_the_pictures_show(
    sample_data: Path, image: str, present: set[str]
) -> None:
    dataset = load_dataset("cocostuff", root=sample_data / "cocostuff")
    sample = dataset.load(list(dataset.ids).index(image))
    assert sample.image.shape == (*sample.label.shape, 3)
    assert sample.label.dtype == np.uint8
    labels = np.unique(sample.label)
    assert {dataset.vocabulary.names[label] for label in labels if label != 255} == present


# Looked at in the picture: a fire engine on a road, trees and clouds behind it.
def test_a_real_label_holds_these_pixels(sample_data: Path) -> None:
    dataset = load_dataset("cocostuff", root=sample_data / "cocostuff")
    label = dataset.load(list(dataset.ids).index("000000197384")).label
    values, counts = np.unique(label, return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {
        7: 89879, 94: 59418, 112: 7570, 137: 77137, 157: 46819, 255: 12297,
    }  # fmt: skip
    pixels = {(235, 283): "truck", (49, 330): "clouds", (389, 318): "road", (137, 379): "tree",
              (445, 245): "grass"}  # fmt: skip
    assert {place: dataset.vocabulary.names[label[place]] for place in pixels} == pixels


def test_every_real_label_is_shifted_once(sample_data: Path) -> None:
    dataset = load_dataset("cocostuff", root=sample_data / "cocostuff")
    gaps = np.array([11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90])
    for index, image in enumerate(dataset.ids):
        path = sample_data / "cocostuff" / "stuffthingmaps" / "val2017" / f"{image}.png"
        stored = np.asarray(Image.open(path)).astype(int)
        below = (stored[..., None] > gaps).sum(axis=-1)
        expected = np.where(stored == 255, 255, stored - below)
        assert (dataset.load(index).label == expected).all()


def test_verify_counts_its_pixels_and_warns_of_an_odd_number_of_images(tmp_path: Path) -> None:
    dataset = load_dataset("cocostuff", root=tree(tmp_path, SEPARATE, a=row(0, 181, 181, 255)))
    report = verify(dataset)
    assert report.ok
    assert (report.pixels[0], report.pixels[170], report.ignored) == (1, 2, 1)
    assert "1 images here; the official list has 5000" in report.warnings[0]


def test_verify_on_the_command_line(tmp_path: Path) -> None:
    root = tree(tmp_path, SEPARATE, a=row(0, 255), b=row(11))
    command = [sys.executable, "-m", "ovbench", "datasets", "verify", "cocostuff", "--root", root]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "b.png: label values [11] are unknown to cocostuff" in done.stdout
    (root / "stuffthingmaps" / "val2017" / "b.png").unlink()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "b.png: no such file" in done.stdout
    (root / "val2017" / "b.jpg").unlink()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"root": None}, "needs --root DIR or OVBENCH_DATA"),
        ({"root": Path("/nowhere")}, r"/nowhere: .*stuffthingmaps_trainval2017\.zip"),
        ({"split": "train"}, "no split 'train'; it has val"),
        ({"background": "class"}, "cocostuff has no background to 'class'"),
        ({"names": "plan"}, "did you mean 'plain'"),
    ],
)
def test_wrong_arguments_are_one_clear_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, object],
    message: str,
) -> None:
    monkeypatch.delenv("OVBENCH_DATA", raising=False)
    root = tree(tmp_path, SEPARATE, a=row(0))
    with pytest.raises(UsageError, match=message) as caught:
        load_dataset("cocostuff", **{"root": root, **arguments})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_labels_without_pictures(tmp_path: Path) -> None:
    root = tree(tmp_path, SEPARATE, a=row(0))
    (root / "val2017").rename(root / "elsewhere")
    with pytest.raises(
        UsageError, match=r"stuffthingmaps/val2017 needs its pictures, but there are"
    ):
        load_dataset("cocostuff", root=root)
