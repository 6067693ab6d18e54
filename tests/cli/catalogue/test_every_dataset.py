"""Every benchmark from its archives to a result, through the commands a user types.

The archives are tiny, in the exact official layouts, and come from a server on this machine.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from tiny_archives import tar, zipped
from tiny_episodes import IDS
from typer.testing import CliRunner
from weight_servers import Page, PageHandler, serving

from ovbench.cli.app import app
from ovbench.datasets.fetching import archives, prepare
from ovbench.datasets.fetching.archives import CATALOGUE
from ovbench.datasets.fss1000 import class_folders
from ovbench.harness.files.images import voc_palette

SHAPE = (60, 80)
Files = Mapping[str, bytes]


def jpg(seed: int) -> bytes:
    out, rng = io.BytesIO(), np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 256, (*SHAPE, 3), dtype=np.uint8)).save(out, "JPEG")
    return out.getvalue()


def png(*values: int, palette: bool = False) -> bytes:
    """Columns of these values; grey or, as VOC's, with a palette."""
    label = np.resize(np.array(values, np.uint8), SHAPE)
    picture, out = Image.fromarray(label), io.BytesIO()
    if palette:
        picture.putpalette(voc_palette().tobytes())
    picture.save(out, "PNG")
    return out.getvalue()


def instances(year: int, count: int) -> bytes:
    """Every picture shows a person, a dog and, in a crowd, a toothbrush."""
    prefix = "COCO_val2014_" if year == 2014 else ""
    images = [
        {"id": n, "file_name": f"{prefix}{n:012d}.jpg", "height": SHAPE[0], "width": SHAPE[1]}
        for n in range(1, count + 1)
    ]
    square = [[0, 0, 50, 0, 50, 50, 0, 50]]
    crowd = {"counts": [SHAPE[0] * 70, SHAPE[0] * 10], "size": list(SHAPE)}
    objects: list[dict[str, Any]] = [
        {"category_id": c, "iscrowd": 0, "area": 2500, "segmentation": square} for c in IDS[::4]
    ]
    objects.append({"category_id": 90, "iscrowd": 1, "area": 600, "segmentation": crowd})
    annotations = [{"image_id": image["id"], **one} for image in images for one in objects]
    categories = [{"id": i, "name": str(i)} for i in IDS]
    return json.dumps(
        {"images": images, "annotations": annotations, "categories": categories}
    ).encode()


def label_map() -> bytes:
    out = io.BytesIO()
    savemat(out, {"LabelMap": np.resize(np.array([2, 65, 7, 459], np.uint16), SHAPE)})
    return out.getvalue()


def detail() -> bytes:
    image = {"image_id": 1, "file_name": "2008_000001.jpg", "phase": "val",
             "height": SHAPE[0], "width": SHAPE[1]}  # fmt: skip
    code = {"counts": [0, SHAPE[0] * SHAPE[1]], "size": list(SHAPE)}
    region = {"image_id": 1, "category_id": 360, "segmentation": code}
    return json.dumps({"images": [image], "annos_segmentation": [region]}).encode()


VOC2012, VOC2010 = "VOCdevkit/VOC2012", "VOCdevkit/VOC2010"
SERVED: Mapping[str, Callable[[], bytes]] = {
    "VOC2012": lambda: tar(
        {
            f"{VOC2012}/JPEGImages/2007_000001.jpg": jpg(1),
            f"{VOC2012}/SegmentationClass/2007_000001.png": png(0, 3, 20, 255, palette=True),
            f"{VOC2012}/ImageSets/Segmentation/val.txt": b"2007_000001\n",
        }
    ),
    "VOC2010": lambda: tar(
        {
            f"{VOC2010}/JPEGImages/2008_000001.jpg": jpg(2),
            f"{VOC2010}/ImageSets/Main/val.txt": b"2008_000001\n",
        }
    ),
    "DETAIL": detail,
    "CONTEXT_PACK": lambda: tar({"trainval/2008_000001.mat": label_map()}, "w:gz"),
    "COCO_VAL2017": lambda: zipped({"val2017/000000000001.jpg": jpg(3)}),
    "STUFF_MAPS": lambda: zipped({"val2017/000000000001.png": png(0, 89, 91, 181, 255)}),
    "COCO_ANNOTATIONS2017": lambda: zipped(
        {
            "annotations/instances_val2017.json": instances(2017, 1),
            "annotations/captions_val2017.json": b"{}",
        }
    ),
    "COCO_VAL2014": lambda: zipped(
        {f"val2014/COCO_val2014_{n:012d}.jpg": jpg(n) for n in (1, 2, 3)}
    ),
    "COCO_ANNOTATIONS2014": lambda: zipped(
        {"annotations/instances_val2014.json": instances(2014, 3)}
    ),
    "ADE20K": lambda: zipped(
        {
            "ADEChallengeData2016/images/validation/ADE_val_00000001.jpg": jpg(4),
            "ADEChallengeData2016/annotations/validation/ADE_val_00000001.png": png(0, 1, 150),
            "ADEChallengeData2016/objectInfo150.txt": b"Idx\n",
        }
    ),
}


def ovbench(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def measure(name: str, root: Path, *more: object) -> dict[str, Any]:
    """Verify, show and run; the run ends with a table, and with JSON the second time."""
    report = json.loads(ovbench("datasets", "verify", name, "--root", root, "--json", *more))
    assert report["problems"] == []
    assert report["readable"] == report["images"] > 0
    ovbench("datasets", "show", name, "--root", root, "--n", 2, "--output", root / "s.png", *more)
    run = ["run", "--method", "constant", "--dataset", name, "--root", root, "--limit", 20,
           "--output", root / "run", *more]  # fmt: skip
    assert f"constant on {name}" in ovbench(*run)
    result: dict[str, Any] = json.loads(ovbench(*run, "--json"))
    assert result["run"]["num_images"] == min(20, report["images"])
    assert result["metrics"]["miou"] is not None
    return result


PREPARED = [(name, variant) for name, variants in CATALOGUE.items() for variant in variants]


@pytest.mark.parametrize(("name", "variant"), PREPARED)
def test_from_archives_to_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, variant: str | None
) -> None:
    chosen = ["--variant", variant] if variant else []
    constants = {
        constant: archive
        for constant in SERVED
        if (archive := getattr(archives, constant)) in CATALOGUE[name][variant]
    }
    with ExitStack() as stack:
        needed = []
        for constant, archive in constants.items():
            body = SERVED[constant]()
            address = stack.enter_context(serving(PageHandler, Page(body)))
            digest = f"md5:{hashlib.md5(body).hexdigest()}" if archive.digest else None
            needed.append(replace(archive, url=f"{address}/{archive.name}", digest=digest))
        assert len(needed) == len(CATALOGUE[name][variant])
        monkeypatch.setattr(prepare, "CATALOGUE", {name: {variant: tuple(needed)}})
        ovbench("datasets", "prepare", name, "--root", tmp_path, *chosen)
    result = measure(name, tmp_path)
    if variant:
        assert result["run"]["variant"] == variant


def write(root: Path, files: Files) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def test_cityscapes(tmp_path: Path) -> None:
    photograph = io.BytesIO()
    Image.open(io.BytesIO(jpg(1))).save(photograph, "PNG")
    name = "frankfurt/frankfurt_000000_000294"
    files = {
        f"leftImg8bit/val/{name}_leftImg8bit.png": photograph.getvalue(),
        f"gtFine/val/{name}_gtFine_labelIds.png": png(0, 7, 33, 255),
        f"gtFine/val/{name}_gtFine_instanceIds.png": png(1),
        f"gtFine/val/{name}_gtFine_polygons.json": b"{}",
    }
    write(tmp_path, files)
    result = measure("cityscapes", tmp_path)
    assert sum(row["gt_pixels"] for row in result["per_class"]) == SHAPE[0] * SHAPE[1] // 2


def test_perseg(tmp_path: Path) -> None:
    for n in range(3):
        mask = f"PerSeg/Annotations/duck_toy/{n:02d}.png"
        picture = f"PerSeg/Images/duck_toy/{n:02d}.jpg"
        write(tmp_path, {picture: jpg(n), mask: png(0, 1, palette=True)})
    result = measure("perseg", tmp_path)
    assert result["metrics"]["definitions"]["per_image"] is not None
    assert [row["scored"] for row in result["per_class"]] == [False, True]


def test_fss1000(tmp_path: Path) -> None:
    files = {f"{n}.{kind}": jpg(n) if kind == "jpg" else png(0, 255)
             for n in range(1, 11) for kind in ("jpg", "png")}  # fmt: skip
    write(tmp_path / "one", files)
    (tmp_path / "fewshot_data").mkdir()
    for folder in class_folders():
        (tmp_path / "fewshot_data" / folder).symlink_to(tmp_path / "one")
    result = measure("fss1000", tmp_path)
    # All 2,400 episodes are there, of which two were measured.
    assert not any("official list" in warning for warning in result["run"]["warnings"])


def test_a_folder_of_one_s_own(tmp_path: Path) -> None:
    write(tmp_path, {"images/a.jpg": jpg(1), "masks/a.png": png(0, 1, 2, 255),
                     "classes.txt": b"background\ncat, kitten\ndog\n255: (ignore)\n"})  # fmt: skip
    assert measure("folder", tmp_path)["vocabulary"]["names"] == ["background", "cat", "dog"]
