from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovbench.datasets import load_dataset
from ovbench.datasets.cityscapes import label_id_encoding, train_id_encoding
from ovbench.errors import DataError, UsageError

Bytes = np.typing.NDArray[np.uint8]

# The official scripts' table: id of the region -> train id.
TRAIN_IDS = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12,
    26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18,
}  # fmt: skip


def tree(root: Path, kind: str = "labelIds", split: str = "val", **labels: Bytes) -> Path:
    """The official layout: ``<city>_<image>`` lies in the city's folder."""
    for name, label in labels.items():
        city = name.partition("_")[0]
        for home, suffix, content in (
            ("leftImg8bit", "leftImg8bit", np.full((*label.shape, 3), 99, np.uint8)),
            ("gtFine", f"gtFine_{kind}", label),
        ):
            folder = root / home / split / city
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(folder / f"{name}_{suffix}.png")
    return root


def test_every_id_becomes_its_train_id() -> None:
    stored = np.arange(34, dtype=np.uint8)[None]
    expected = [[TRAIN_IDS.get(value, 255) for value in range(34)]]
    assert label_id_encoding().decode(stored, Path("x")).tolist() == expected
    # Licence plates have the id -1.
    assert label_id_encoding().decode(np.array([[255]], np.uint8), Path("x")).tolist() == [[255]]
    converted = np.array([[*range(19), 255]], np.uint8)
    assert (train_id_encoding().decode(converted, Path("x")) == converted).all()
    for encoding, value in ((label_id_encoding(), 34), (train_id_encoding(), 19)):
        with pytest.raises(DataError, match=rf"\[{value}\] are unknown to cityscapes"):
            encoding.decode(np.array([[value]], np.uint8), Path("x"))


def test_cities_are_folders(tmp_path: Path) -> None:
    label = np.array([[7, 26, 0]], np.uint8)
    dataset = load_dataset("cityscapes", root=tree(tmp_path, munster_1=label, frankfurt_2=label))
    assert dataset.ids == ["frankfurt/frankfurt_2", "munster/munster_1"]
    assert dataset.load(1).label.tolist() == [[0, 13, 255]]
    assert dataset.info.expected_images == 500
    assert [query.kind for query in dataset.vocabulary.classes].count("stuff") == 11


def test_official_files_go_before_converted_ones(tmp_path: Path) -> None:
    tree(tmp_path, "labelTrainIds", bonn_1=np.array([[13]], np.uint8))
    assert load_dataset("cityscapes", root=tmp_path).load(0).label.tolist() == [[13]]
    tree(tmp_path, "labelIds", bonn_1=np.array([[7]], np.uint8))
    assert load_dataset("cityscapes", root=tmp_path).load(0).label.tolist() == [[0]]


def test_mmsegmentation_s_folder_is_found(tmp_path: Path) -> None:
    tree(tmp_path / "cityscapes", bonn_1=np.array([[7]], np.uint8))
    assert load_dataset("cityscapes", root=tmp_path).ids == ["bonn/bonn_1"]


# Looked at in the picture: the house behind the roundabout, the meadow, a man on a bicycle.
def test_a_real_label_holds_these_pixels(sample_data: Path) -> None:
    dataset = load_dataset("cityscapes", root=sample_data / "cityscapes")
    sample = dataset.load(0)
    assert sample.id == "aachen/aachen_000000_000019"
    assert sample.image.shape == (1024, 2048, 3)
    values, counts = np.unique(sample.label, return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {
        0: 831082, 1: 29195, 2: 611938, 5: 22846, 7: 34863, 8: 221654, 9: 130185, 10: 38722,
        11: 1588, 12: 2270, 13: 42659, 18: 2309, 255: 9 + 81534 + 31634 + 14664,
    }  # fmt: skip
    pixels = {
        (771, 2034): "road", (216, 918): "building", (588, 67): "terrain", (40, 1942): "sky",
        (473, 902): "person", (479, 1793): "car", (268, 367): "vegetation",
        (476, 1881): "rider", (489, 814): "bicycle",
    }  # fmt: skip
    names = dataset.vocabulary.names
    assert {place: names[sample.label[place]] for place in pixels} == pixels
    assert sample.label[991, 929] == 255  # the car that the camera is in


def test_both_files_of_a_real_image(sample_data: Path, tmp_path: Path) -> None:
    source = sample_data / "cityscapes_small"
    folder = Path("val/frankfurt")
    name = "frankfurt_000000_000294"
    official = load_dataset("cityscapes", root=source).load(0)
    for home, suffix in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelTrainIds")):
        target = tmp_path / home / folder
        target.mkdir(parents=True)
        file = f"{name}_{suffix}.png"
        (target / file).write_bytes((source / home / folder / file).read_bytes())
    converted = load_dataset("cityscapes", root=tmp_path).load(0)
    assert converted.id == official.id == f"frankfurt/{name}"
    assert (converted.image == official.image).all()
    values, counts = np.unique(converted.label, return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {
        0: 9737, 1: 2634, 2: 12748, 4: 43, 5: 400, 7: 190, 8: 663, 10: 579, 11: 106, 13: 1799,
        255: 3869,
    }  # fmt: skip
    # The two small files were scaled down apart, so their edges differ.
    assert (converted.label == official.label).mean() > 0.99


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"root": None}, "needs --root DIR or OVBENCH_DATA"),
        ({"root": Path("/nowhere")}, r"gtFine_trainvaltest\.zip, behind the login"),
        ({"split": "test"}, "no split 'test'; it has train, val"),
        ({"background": "class"}, "cityscapes has no background to 'class'"),
    ],
)
def test_wrong_arguments_are_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, object], message: str
) -> None:
    monkeypatch.delenv("OVBENCH_DATA", raising=False)
    root = tree(tmp_path, bonn_1=np.array([[7]], np.uint8))
    with pytest.raises(UsageError, match=message) as caught:
        load_dataset("cityscapes", **{"root": root, **arguments})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
