from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as codes
from scipy.io import savemat

from ovbench.datasets import load_dataset
from ovbench.datasets.reading import coco_masks
from ovbench.datasets.reading.context_labels import CLASS_IDS, id_encoding
from ovbench.errors import DataError, UsageError
from ovbench.harness.files.images import write_label

Wide = np.typing.NDArray[np.uint16]

# Of the published table: id in the list of 459 -> name.
SOME_NAMES = {2: "aeroplane", 65: "cat", 72: "chair", 98: "cow", 284: "person", 360: "sky",
              420: "tree", 427: "tvmonitor", 454: "window", 458: "wood"}  # fmt: skip


# Looked at in the pictures: histograms of the files, and pixels inside the things named.
REAL = {
    "2008_008376": (
        {"bird": 28373, "grass": 62440, "ground": 56534, "water": 17992, "wood": 1161},
        {(205, 215): "bird", (265, 188): "grass", (92, 259): "ground", (28, 495): "water"},
    ),
    "2009_000637": (
        {"background": 20246, "grass": 43704, "ground": 16397, "motorbike": 32725,
         "person": 38072, "sky": 69856},
        {(228, 232): "motorbike", (400, 205): "person", (86, 220): "sky", (358, 244): "grass"},
    ),
    "2009_001858": (
        {"background": 185, "aeroplane": 1115, "mountain": 39254, "sky": 157446},
        {(136, 201): "aeroplane", (448, 166): "mountain", (202, 31): "sky"},
    ),
}  # fmt: skip


def home(root: Path) -> Path:
    return root / "VOCdevkit" / "VOC2010"


def pictures(root: Path, **sizes: tuple[int, ...]) -> None:
    (home(root) / "JPEGImages").mkdir(parents=True, exist_ok=True)
    for name, size in sizes.items():
        picture = Image.fromarray(np.full((*size, 3), 99, np.uint8))
        picture.save(home(root) / "JPEGImages" / f"{name}.jpg")


def lists(root: Path, folder: str, **splits: str) -> None:
    place = home(root) / "ImageSets" / folder
    place.mkdir(parents=True, exist_ok=True)
    for split, names in splits.items():
        (place / f"{split}.txt").write_text("\n".join(names.split()) + "\n")


def pack(root: Path, folder: str = "pascal-context/trainval", **labels: Wide) -> Path:
    """The label pack, with VOC 2010's own lists."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    for name, label in labels.items():
        savemat(root / folder / f"{name}.mat", {"LabelMap": label}, do_compression=True)
    pictures(root, **{name: label.shape for name, label in labels.items()})
    lists(root, "Main", val=" ".join(labels), train="other")
    return root


def detail(root: Path, *regions: tuple[str, int, Any], phase: str = "val") -> Path:
    """The Detail API's file: one entry per region, masks as compressed run-length codes."""
    names = list(dict.fromkeys(name for name, _, _ in regions))
    shapes = {name: mask.shape for name, _, mask in regions}
    content = {
        "info": {}, "categories": [], "parts": [], "annos_occlusion": [], "annos_boundary": [],
        "images": [
            {"image_id": number, "file_name": f"{name}.jpg", "height": shapes[name][0],
             "width": shapes[name][1], "phase": phase, "date_captured": ""}
            for number, name in enumerate(names)
        ],
        "annos_segmentation": [],
    }  # fmt: skip
    for number, (name, category, mask) in enumerate(regions):
        code = codes.encode(np.asfortranarray(mask.astype(np.uint8)))
        content["annos_segmentation"].append(
            {"id": number, "image_id": names.index(name), "category_id": category, "parts": [],
             "iscrowd": number % 2, "segmentation": {**code, "counts": code["counts"].decode()}}
        )  # fmt: skip
    pictures(root, **shapes)
    (home(root) / "trainval_merged.json").write_text(json.dumps(content))
    return root


def converted(root: Path, **labels: np.typing.NDArray[np.uint8]) -> Path:
    for name, label in labels.items():
        (home(root) / "SegmentationClassContext").mkdir(parents=True, exist_ok=True)
        write_label(home(root) / "SegmentationClassContext" / f"{name}.png", label)
    pictures(root, **{name: label.shape for name, label in labels.items()})
    lists(root, "SegmentationContext", val=" ".join(labels))
    return root


def test_the_table_of_ids_is_the_published_one(tmp_path: Path) -> None:
    dataset = load_dataset("context", root=converted(tmp_path, a=np.zeros((1, 1), np.uint8)))
    names = dataset.vocabulary.names
    assert len(CLASS_IDS) == 59
    assert list(CLASS_IDS) == sorted(CLASS_IDS)
    assert list(names[1:]) == sorted(names[1:])  # both alphabetical, so they go together
    assert {i: names[1 + CLASS_IDS.index(i)] for i in SOME_NAMES} == SOME_NAMES


def test_ids_become_labels() -> None:
    stored = np.array([[0, 1, 2, 3, 458, 459]], np.uint16)
    assert id_encoding("class").decode(stored, Path("x")).tolist() == [[0, 0, 1, 0, 59, 0]]
    without = id_encoding("ignore").decode(stored, Path("x"))
    assert without.tolist() == [[255, 255, 0, 255, 58, 255]]
    with pytest.raises(DataError, match=r"x: label values \[460\] are unknown to context"):
        id_encoding("class").decode(np.array([[460]], np.uint16), Path("x"))


@pytest.mark.parametrize(
    "folder", ["pascal-context/trainval", "trainval", "VOCdevkit/VOC2010/trainval"]
)
def test_the_label_pack(tmp_path: Path, folder: str) -> None:
    label = np.array([[2, 454, 300], [65, 0, 459]], np.uint16)
    dataset = load_dataset("context", root=pack(tmp_path, folder, b=label, a=label[:1]))
    assert dataset.ids == ["b", "a"]
    assert dataset.info.variant == "labels459"
    names = ("background", "aeroplane", "cat", "window")
    wanted = [[dataset.vocabulary.names[v] for v in row] for row in dataset.load(0).label]
    assert wanted == [[names[1], names[3], names[0]], [names[2], names[0], names[0]]]


def test_the_last_region_of_the_detail_api_shows(tmp_path: Path) -> None:
    whole, left = np.ones((2, 3), bool), np.zeros((2, 3), bool)
    left[:, 0] = True
    root = detail(tmp_path, ("b", 360, whole), ("a", 2, left), ("b", 65, left), ("b", 7, ~whole))
    dataset = load_dataset("context", root=root)
    assert dataset.ids == ["a", "b"]
    assert dataset.info.variant == "detail"
    names = dataset.vocabulary.names
    assert dataset.load(0).label.tolist() == [[1, 0, 0]] * 2
    cat, sky = names.index("cat"), names.index("sky")
    assert dataset.load(1).label.tolist() == [[cat, sky, sky]] * 2
    ignoring = load_dataset("context59", root=root)
    assert ignoring.load(0).label.tolist() == [[0, 255, 255]] * 2
    with pytest.raises(DataError, match=r"trainval_merged\.json: has no image c"):
        dataset.labels.read("c")  # type: ignore[attr-defined]


def test_phases_are_splits(tmp_path: Path) -> None:
    root = detail(tmp_path, ("a", 2, np.ones((1, 1), bool)), phase="train")
    train = load_dataset("context", root=root, split="train")
    assert (train.ids, train.info.expected_images) == (["a"], 4998)
    with pytest.raises(UsageError, match=r"trainval_merged\.json: lists no images of val"):
        load_dataset("context", root=root)


def test_what_lies_on_disk_is_read_and_named(tmp_path: Path) -> None:
    label = np.array([[65]], np.uint16)
    pack(tmp_path, a=label)
    assert load_dataset("context", root=tmp_path).info.variant == "labels459"
    detail(tmp_path, ("a", 72, np.ones((1, 1), bool)))
    assert load_dataset("context", root=tmp_path).info.variant == "detail"
    converted(tmp_path, a=np.array([[16]], np.uint8))
    found = {
        variant: load_dataset("context", root=tmp_path, variant=variant).load(0).label.item()
        for variant in (None, "converted", "detail", "labels459")
    }
    assert found == {None: 16, "converted": 16, "detail": 17, "labels459": 15}


@pytest.mark.parametrize("part", ["", "VOCdevkit", "VOCdevkit/VOC2010"])
def test_root_may_point_at_any_level(tmp_path: Path, part: str) -> None:
    converted(tmp_path, a=np.array([[59, 0]], np.uint8))
    dataset = load_dataset("context", root=tmp_path / part)
    assert dataset.load(0).label.tolist() == [[59, 0]]
    assert dataset.info.expected_images == 5105


def test_real_labels_are_read_as_stored(sample_data: Path) -> None:
    dataset = load_dataset("context", root=sample_data / "context")
    assert dataset.info.variant == "converted"
    assert len(dataset.ids) == 3
    names = dataset.vocabulary.names
    for index, image in enumerate(dataset.ids):
        path = home(sample_data / "context") / "SegmentationClassContext" / f"{image}.png"
        stored = np.asarray(Image.open(path))
        sample = dataset.load(index)
        assert (sample.label == stored).all()
        values, counts = np.unique(sample.label, return_counts=True)
        found = dict(zip([names[v] for v in values], counts.tolist(), strict=True))
        assert found == REAL[image][0]
        assert {place: names[sample.label[place]] for place in REAL[image][1]} == REAL[image][1]
        without = load_dataset("context59", root=sample_data / "context").load(index)
        wide = stored.astype(int)
        assert (without.label == np.where(wide == 0, 255, wide - 1)).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b'{"images": []', "not JSON"),
        (b'{"images": []}', "not the Detail API's file .*annos_segmentation"),
        (b'{"images": [{"image_id": 1}], "annos_segmentation": []}', "'file_name' is missing"),
        (b'{"images": [7], "annos_segmentation": []}', "7 is no object"),
        (b'{"images": {}, "annos_segmentation": []}', "'images' is no list"),
        (b'{"images": [], "annos_segmentation": [{"image_id": 1}]}', "no image 1, which has a reg"),
        (b"[]", "not the Detail API's file"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_broken_detail_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    root = detail(tmp_path, ("a", 2, np.ones((1, 1), bool)))
    path = home(root) / "trainval_merged.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        load_dataset("context", root=root)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"file_name": "a.jpg"}, "two images are called 'a'"),
        ({"image_id": 0}, "two images have the id 0"),
    ],
)
def test_no_image_of_detail_hides_another(tmp_path: Path, changed: Any, message: str) -> None:
    root = detail(tmp_path, ("a", 2, np.ones((1, 1), bool)), ("b", 9, np.ones((1, 1), bool)))
    path = home(root) / "trainval_merged.json"
    content = json.loads(path.read_text())
    content["images"][1] |= changed
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=message):
        load_dataset("context", root=root)


def test_reading_a_large_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = detail(tmp_path, ("a", 2, np.ones((1, 1), bool)))
    said: list[str] = []
    monkeypatch.setattr(coco_masks, "say", said.append)
    load_dataset("context", root=root)
    assert said == []
    monkeypatch.setattr(coco_masks, "LARGE", 100)
    load_dataset("context", root=root)
    assert said == ["reading trainval_merged.json (0 MiB)"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"category_id": 65538}, "annotation 0: 'category_id' is 65538, no whole number"),
        ({"category_id": -1}, "annotation 0: 'category_id' is -1"),
        ({"segmentation": {"size": [1, 1], "counts": [2]}}, "a, annotation 0: .*sum to|no numbers"),
        ({"segmentation": {"size": [9**9, 9**9], "counts": [1]}}, "image a, annotation 0: "),
        ({"segmentation": [[0, 0, 1e9, 0, 1e9, 1e9]]}, "image a, annotation 0: .*far outside"),
    ],
)
def test_a_broken_region_is_named(tmp_path: Path, changed: Any, message: str) -> None:
    root = detail(tmp_path, ("a", 2, np.ones((1, 1), bool)))
    path = home(root) / "trainval_merged.json"
    content = json.loads(path.read_text())
    content["annos_segmentation"][0] |= changed
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=message) as caught:
        load_dataset("context", root=root).load(0)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.unlink(), "no such file"),
        (lambda p: p.write_bytes(b""), "not a file of the label pack"),
        (lambda p: p.write_bytes(p.read_bytes()[:150]), "not a file of the label pack"),
        (lambda p: savemat(p, {"Other": np.zeros((2, 2))}), "not a file of the label pack"),
        (lambda p: savemat(p, {"LabelMap": np.zeros((2, 2))}), "LabelMap is float64"),
        (lambda p: savemat(p, {"LabelMap": np.full((1, 1), 460, np.uint16)}), r"\[460\] are"),
        (lambda p: savemat(p, {"LabelMap": np.full((1, 1), 65538, np.uint32)}), "65538, not ids"),
        (lambda p: savemat(p, {"LabelMap": np.full((1, 1), -2, np.int16)}), "-2, not ids"),
        (lambda p: savemat(p, {"LabelMap": np.ones((3, 2), np.uint16)}), "2x3 pixels"),
    ],
)
def test_a_broken_file_of_the_pack_is_named(tmp_path: Path, spoil: Any, message: str) -> None:
    root = pack(tmp_path, a=np.array([[2]], np.uint16))
    path = root / "pascal-context" / "trainval" / "a.mat"
    spoil(path)
    with pytest.raises(DataError, match=message) as caught:
        load_dataset("context", root=root).load(0)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"root": None}, "needs --root DIR or OVBENCH_DATA"),
        ({"root": Path("/nowhere")}, r"/nowhere: context is not here; .*prepare context"),
        ({"split": "test"}, "no split 'test'; it has train, val"),
        ({"variant": "mmseg"}, "no variant 'mmseg'; it has converted, detail, labels459"),
        ({"variant": "labels459"}, r"pascal-context/trainval: not there; .*--variant labels459"),
        ({"background": "none"}, "'none' is not 'class' or 'ignore'"),
    ],
)
def test_wrong_arguments_are_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, object], message: str
) -> None:
    monkeypatch.delenv("OVBENCH_DATA", raising=False)
    root = converted(tmp_path, a=np.zeros((1, 1), np.uint8))
    with pytest.raises(UsageError, match=message) as caught:
        load_dataset("context", **{"root": root, **arguments})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_asking_for_what_only_a_converter_makes(tmp_path: Path) -> None:
    root = pack(tmp_path, a=np.array([[2]], np.uint16))
    with pytest.raises(UsageError, match=r"SegmentationClassContext: not there; mmsegmentation's"):
        load_dataset("context", root=root, variant="converted")


def test_a_size_that_the_detail_api_states_is_that_of_the_picture(tmp_path: Path) -> None:
    root = detail(tmp_path, ("a", 2, np.ones((4, 6), bool)))
    pictures(root, a=(5, 7))
    with pytest.raises(
        DataError, match=r"merged\.json: 6x4 pixels, but its image a has 7x5; the two"
    ):
        load_dataset("context", root=root).load(0)
