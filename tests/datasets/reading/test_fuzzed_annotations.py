"""Damaged annotation files and lists: one line that names the file, whatever is in them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import mutated, seconds, spoilt
from PIL import Image

from ovbench.datasets import coco20i, load_dataset
from ovbench.datasets.names import read_vocabulary
from ovbench.errors import UsageError
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.files.images import write_label

MUTATIONS = 200
SIZE = (6, 8)
COCO_IDS = [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
POLYGON = {"segmentation": [[0, 0, 5, 0, 5, 5], [1.5, 1, 6, 1, 6, 4, 1, 4]]}
RUNS = {"segmentation": {"counts": [0, 12, 36], "size": list(SIZE)}}
CODE = {"segmentation": {"counts": "0<T1", "size": list(SIZE)}}


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(path)


def coco_file(root: Path) -> tuple[Path, Any]:
    """COCO's instances: two images with three objects."""
    for number in (7, 9):
        picture(root / "val2017" / f"{number:012}.jpg")
    common = {"iscrowd": 0, "area": 12.5}
    return root / "annotations" / "instances_val2017.json", {
        "images": [
            {"id": n, "file_name": f"{n:012}.jpg", "height": SIZE[0], "width": SIZE[1]}
            for n in (7, 9)
        ],
        "categories": [{"id": i, "name": str(i)} for i in COCO_IDS],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 1, **common, **POLYGON},
            {"id": 2, "image_id": 7, "category_id": 90, **common, **RUNS, "iscrowd": 1},
            {"id": 3, "image_id": 9, "category_id": 3, **common, **CODE},
        ],
    }


def detail_file(root: Path) -> tuple[Path, Any]:
    """The Detail API's: two images with three regions."""
    for name in ("a", "b"):
        picture(root / "VOCdevkit/VOC2010/JPEGImages" / f"{name}.jpg")
    return root / "VOCdevkit/VOC2010/trainval_merged.json", {
        "images": [
            {"image_id": n, "file_name": f"{name}.jpg", "height": SIZE[0], "width": SIZE[1],
             "phase": "val"}
            for n, name in enumerate("ab")
        ],
        "annos_segmentation": [
            {"id": 1, "image_id": 0, "category_id": 2, **CODE},
            {"id": 2, "image_id": 0, "category_id": 459, **RUNS},
            {"id": 3, "image_id": 1, "category_id": 284, **POLYGON},
        ],
    }  # fmt: skip


def read_all(name: str, root: Path, **choices: str) -> None:
    dataset = load_dataset(name, root=root, **choices)  # type: ignore[arg-type]
    for index in range(min(3, len(dataset.ids))):
        dataset.load(index)


@pytest.mark.parametrize(("name", "make"), [("cocoobject", coco_file), ("context", detail_file)])
def test_damaged_json(tmp_path: Path, name: str, make: Callable[[Path], tuple[Path, Any]]) -> None:
    path, content = make(tmp_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    read_all(name, tmp_path)  # whole, it is read
    said = []
    for seed in range(MUTATIONS):
        if seed % 4 == 0:
            path.write_bytes(mutated(json.dumps(content).encode(), seed))
        else:
            path.write_text(json.dumps(spoilt(content, seed)))
        try:
            with seconds(10):
                read_all(name, tmp_path)
        except UsageError as error:
            said.append(str(error))
    assert len(said) > MUTATIONS / 4
    assert all("\n" not in line and len(line) < 700 for line in said)


def test_damaged_lists_of_hsnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco20i, "EPISODES", 50)
    content = {c: [f"val2014/{c}_{n}.jpg" for n in range(3)] for c in range(0, 80, 4)}
    for name in (name for names in content.values() for name in names):
        picture(tmp_path / "COCO2014" / name)
        label = (tmp_path / "COCO2014/annotations" / name).with_suffix(".png")
        label.parent.mkdir(parents=True, exist_ok=True)
        write_label(label, np.full(SIZE, 1 + int(label.stem.partition("_")[0]), np.uint8))
    path = tmp_path / "splits/coco/val/fold0.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(content))
    read_all("coco20i", tmp_path)
    said = []
    for seed in range(MUTATIONS):
        damaged = spoilt(content, seed)
        data = mutated(pickle.dumps(content), seed) if seed % 2 else pickle.dumps(damaged)
        path.write_bytes(data)
        try:
            with seconds(10):
                read_all("coco20i", tmp_path)
        except UsageError as error:
            said.append(str(error))
    assert len(said) > MUTATIONS / 4
    assert all("\n" not in line and len(line) < 700 for line in said)


def test_damaged_lists_of_images(tmp_path: Path) -> None:
    home = tmp_path / "VOCdevkit/VOC2012"
    ids = [f"2007_{n:06}" for n in range(12)]
    for name in ids:
        picture(home / "JPEGImages" / f"{name}.jpg")
    (home / "SegmentationClass").mkdir()
    for name in ids:
        write_label(home / "SegmentationClass" / f"{name}.png", np.zeros(SIZE, np.uint8))
    path = home / "ImageSets/Segmentation/val.txt"
    path.parent.mkdir(parents=True)
    content = "".join(f"{name}\n" for name in ids).encode()
    path.write_bytes(content)
    said = []
    for seed in range(MUTATIONS):
        path.write_bytes(mutated(content, seed))
        try:
            with seconds(10):
                dataset = load_dataset("voc", root=tmp_path)
                for index in range(len(dataset.ids)):
                    dataset.load(index)
        except UsageError as error:
            said.append(str(error))
    assert len(said) > MUTATIONS / 4
    assert all("\n" not in line and len(line) < 700 for line in said)


def test_damaged_names(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    content = b"background, sky\ncat, kitten\nscreen door = screen\n# a dog\ndog; puppy\n"
    path.write_bytes(content)

    def read() -> Vocabulary:
        return read_vocabulary("voc", path, num_classes=3, background=True)

    assert read().names == ("background", "cat", "screen door", "dog")
    said = []
    for seed in range(MUTATIONS):
        path.write_bytes(mutated(content, seed))
        try:
            names = read().names
        except UsageError as error:
            said.append(str(error))
        else:
            assert len({name.casefold() for name in names}) == 4
            assert all(name.strip() for name in names)
    assert len(said) > MUTATIONS / 4
    assert all("\n" not in line and len(line) < 700 for line in said)
