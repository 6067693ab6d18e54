"""The image-prompted benchmarks on real pictures and masks: from files to scores."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from test_episodes import Truth
from tiny_episodes import IDS

from ovbench.datasets import load_dataset
from ovbench.datasets.coco20i import MIN_PIXELS, InstancePictures
from ovbench.datasets.fss1000 import class_folders
from ovbench.datasets.reading.coco_instances import Instances
from ovbench.harness.contract.datasets import Dataset
from ovbench.harness.registry.methods import load_method
from ovbench.harness.run.runner import Options, evaluate

LIMIT = 8


def perseg(sample: Path, root: Path) -> Dataset:
    for file in (sample / "perseg").iterdir():
        name, _, number = file.stem.rpartition("_")
        folder = "Images" if file.suffix == ".jpg" else "Annotations"
        target = root / "PerSeg" / folder / name / f"{number}{file.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    return load_dataset("perseg", root=root)


def fss1000(sample: Path, root: Path) -> Dataset:
    """The five pictures of one class, twice, stand for all of every class."""
    source = root / "class"
    source.mkdir()
    for n in range(1, 11):
        for part, suffix in (("image", "jpg"), ("label", "png")):
            real = sample / "fss" / "support" / part / f"{1 + (n - 1) % 5}.{suffix}"
            shutil.copy(real, source / f"{n}.{suffix}")
    (root / "fewshot_data").mkdir()
    for folder in class_folders():
        (root / "fewshot_data" / folder).symlink_to(source)
    return load_dataset("fss1000", root=root)


def coco20i(sample: Path, root: Path) -> Dataset:
    """What is there of val2014, with people for the classes that it shows too rarely."""
    content = json.loads((sample / "coco/annotations/instances_val2014_100.json").read_text())
    here = {path.name for path in (sample / "coco" / "val2014").iterdir()}
    content["images"] = [image for image in content["images"] if image["file_name"] in here]
    numbers = {image["id"] for image in content["images"]}
    real = [one for one in content["annotations"] if one["image_id"] in numbers]
    large = [one for one in real if one["area"] >= MIN_PIXELS and not one["iscrowd"]]
    people = [one for one in large if one["category_id"] == 1]
    two = [people[0], next(one for one in people if one["image_id"] != people[0]["image_id"])]
    for category in (entry["id"] for entry in content["categories"][::4]):
        showing = {one["image_id"] for one in large if one["category_id"] == category}
        if len(showing) < 2:
            real += [{**one, "id": 10**9 + len(real), "category_id": category} for one in two]
    content["annotations"] = real
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_val2014.json").write_text(json.dumps(content))
    (root / "val2014").symlink_to(sample / "coco" / "val2014")
    return load_dataset("coco20i", root=root)


def test_perseg_masks(sample_data: Path, tmp_path: Path) -> None:
    dataset = perseg(sample_data, tmp_path)
    assert list(dataset.ids) == ["cat/01", "cat/02", "colorful_sneaker/01", "colorful_sneaker/02",
                                 "duck_toy/01", "duck_toy/02"]  # fmt: skip
    home = tmp_path / "PerSeg" / "Annotations"
    for index, name in enumerate(dataset.ids):
        sample = dataset.load(index)
        stored = np.asarray(Image.open(home / f"{name}.png"))
        assert ((sample.label > 0) == (stored == 1)).all()
        assert set(np.unique(sample.label)) == {0, 1 + index // 2}
        assert sample.prompt is not None
        reference = home / name.split("/")[0] / "00.png"
        shown = sample.prompt.vocabulary.classes[0].exemplars[0]
        assert (shown.mask == (np.asarray(Image.open(reference)) == 1)).all()


def test_fss_masks(sample_data: Path, tmp_path: Path) -> None:
    dataset = fss1000(sample_data, tmp_path)
    stored = np.asarray(Image.open(tmp_path / "class" / "1.png").convert("L"))
    assert set(np.unique(stored)) == {0, 1}
    assert (dataset.load(0).label == stored).all()


def test_coco_masks(sample_data: Path) -> None:

    source = sample_data / "coco" / "annotations" / "instances_val2014_100.json"
    classes = list(range(0, 80, 4))
    pictures = InstancePictures(sample_data / "coco" / "val2014", Instances(source), classes)
    coco_api = COCO(str(source))
    candidates, checked = pictures.candidates(), 0
    for label, c in enumerate(classes, start=1):
        for name in candidates[c]:
            number = int(name[-16:-4])
            objects = coco_api.loadAnns(coco_api.getAnnIds(number, catIds=IDS[c]))
            expected = np.any([coco_api.annToMask(one) for one in objects], axis=0)
            mask = pictures.mask(name, label)
            assert (mask == expected).all()
            assert sum(one["area"] for one in objects) >= MIN_PIXELS
            checked += 1
    assert len(candidates[0]) >= 40  # people are in half of the pictures
    assert checked > 60


benchmarks = pytest.mark.parametrize("build", [perseg, fss1000, coco20i])


@benchmarks
def test_the_truth_scores_100(
    build: Callable[[Path, Path], Dataset], sample_data: Path, tmp_path: Path
) -> None:
    dataset = build(sample_data, tmp_path)
    result = evaluate(
        Truth(dataset, LIMIT), dataset, output=tmp_path / "run", options=Options(limit=LIMIT)
    )
    assert result is not None
    assert result["metrics"]["miou"] == 100
    assert result["metrics"]["definitions"]["per_image"] == 100


@benchmarks
def test_a_method_is_measured(
    build: Callable[[Path, Path], Dataset], sample_data: Path, tmp_path: Path
) -> None:
    dataset = build(sample_data, tmp_path)
    method = load_method("seggpt", device="cpu", checkpoints="toy")
    result: dict[str, Any] | None = evaluate(
        method, dataset, output=tmp_path / "run", options=Options(limit=LIMIT)
    )
    assert result is not None
    assert result["run"]["num_images"] == min(LIMIT, len(dataset.ids))
    scores = result["metrics"]["miou"], result["metrics"]["definitions"]["per_image"]
    assert all(np.isfinite(scores))
    assert max(scores) < 100
