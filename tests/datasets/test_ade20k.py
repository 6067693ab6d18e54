from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovbench.datasets import load_dataset
from ovbench.datasets.ade20k import NUM_CLASSES, STUFF
from ovbench.errors import DataError, UsageError

Bytes = np.typing.NDArray[np.uint8]


def tree(root: Path, split: str = "validation", home: str = "ADEChallengeData2016",
         **labels: Bytes) -> Path:  # fmt: skip
    """The official layout with these label maps (grey PNGs) and pictures of their sizes."""
    for kind in ("images", "annotations"):
        (root / home / kind / split).mkdir(parents=True, exist_ok=True)
    for name, label in labels.items():
        picture = Image.fromarray(np.full((*label.shape, 3), 99, np.uint8))
        picture.save(root / home / "images" / split / f"{name}.jpg")
        Image.fromarray(label).save(root / home / "annotations" / split / f"{name}.png")
    return root


def test_zero_is_left_out_and_every_class_moves_down_once(tmp_path: Path) -> None:
    values = np.arange(151, dtype=np.uint8)[None]
    dataset = load_dataset("ade20k", root=tree(tmp_path, ADE_val_00000001=values))
    assert dataset.load(0).label.tolist() == [[255, *range(150)]]
    assert len(dataset.vocabulary) == NUM_CLASSES
    assert dataset.vocabulary.background is None
    assert dataset.info.expected_images == 2000


@pytest.mark.parametrize("value", [151, 254])
def test_a_value_behind_the_last_is_named(tmp_path: Path, value: int) -> None:
    dataset = load_dataset("ade20k", root=tree(tmp_path, a=np.array([[value]], np.uint8)))
    with pytest.raises(DataError, match=rf"a\.png: label values \[{value}\] are unknown"):
        dataset.load(0)


@pytest.mark.parametrize("home", ["ADEChallengeData2016", "ade/ADEChallengeData2016", "."])
def test_every_layout_is_found(tmp_path: Path, home: str) -> None:
    label = np.array([[3, 0]], np.uint8)
    root = tree(tmp_path, home=home, b=label, a=label)
    tree(tmp_path, "training", home, c=label)
    assert load_dataset("ade20k", root=root).ids == ["a", "b"]
    train = load_dataset("ade20k", root=root, split="train")
    assert train.ids == ["c"]
    assert train.info.expected_images == 20210


# Looked at in the pictures: the house, the sky above it, the stone wall; the bus, the van.
@pytest.mark.parametrize(
    ("image", "histogram", "pixels"),
    [
        (
            "ADE_val_00000001",
            {0: 14538, 1: 123406, 2: 134492, 4: 8784, 6: 1755, 9: 53099, 17: 10009, 255: 3613},
            {(274, 224): "building", (104, 84): "sky", (407, 141): "wall", (361, 48): "tree",
             (440, 400): "grass", (504, 573): "road"},
        ),
        (
            "ADE_val_00000003",
            {0: 2901, 1: 9024, 2: 27749, 4: 2048, 6: 30083, 11: 22518, 20: 2330, 43: 153,
             80: 1681, 87: 202, 96: 17664, 102: 1616, 255: 2031},
            {(134, 208): "bus", (135, 374): "van", (158, 56): "car", (222, 58): "sidewalk",
             (237, 182): "road", (86, 284): "escalator", (77, 258): "streetlight"},
        ),
    ],
)  # fmt: skip
def test_real_labels_hold_these_pixels(
    sample_data: Path, image: str, histogram: dict[int, int], pixels: dict[tuple[int, int], str]
) -> None:
    dataset = load_dataset("ade20k", root=sample_data / "ade20k")
    assert len(dataset.ids) == 3
    sample = dataset.load(list(dataset.ids).index(image))
    assert sample.image.shape == (*sample.label.shape, 3)
    values, counts = np.unique(sample.label, return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == histogram
    names = dataset.vocabulary.names
    assert {place: names[sample.label[place]] for place in pixels} == pixels


def test_every_real_label_is_reduced_once(sample_data: Path) -> None:
    dataset = load_dataset("ade20k", root=sample_data / "ade20k")
    folder = sample_data / "ade20k" / "ADEChallengeData2016" / "annotations" / "validation"
    for index, image in enumerate(dataset.ids):
        stored = np.asarray(Image.open(folder / f"{image}.png")).astype(int)
        assert (dataset.load(index).label == np.where(stored == 0, 255, stored - 1)).all()


def test_kinds_are_those_of_the_benchmark(sample_data: Path, tmp_path: Path) -> None:
    table = sample_data / "ade20k" / "ADEChallengeData2016" / "objectInfo150.csv"
    rows = [line.split(",") for line in table.read_text().splitlines()[1:]]
    assert {int(row[0]) - 1 for row in rows if row[4] == "1"} == STUFF
    dataset = load_dataset("ade20k", root=sample_data / "ade20k")
    assert sum(query.kind == "stuff" for query in dataset.vocabulary.classes) == 35


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"root": None}, "needs --root DIR or OVBENCH_DATA"),
        ({"root": Path("/nowhere")}, r"/nowhere: .*ADEChallengeData2016\.zip.*prepare ade20k"),
        ({"split": "test"}, "no split 'test'; it has train, val"),
        ({"split": "train"}, "ade20k is not here"),
        ({"background": "ignore"}, "ade20k has no background to 'ignore'"),
    ],
)
def test_wrong_arguments_are_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, object], message: str
) -> None:
    monkeypatch.delenv("OVBENCH_DATA", raising=False)
    root = tree(tmp_path, a=np.array([[1]], np.uint8))
    with pytest.raises(UsageError, match=message) as caught:
        load_dataset("ade20k", **{"root": root, **arguments})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
