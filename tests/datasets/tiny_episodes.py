"""Tiny image-prompted benchmarks, laid out as the real ones are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ovbench.harness.files.images import write_label

Bytes = np.typing.NDArray[np.uint8]
IDS = [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]


def picture(path: Path, shape: tuple[int, ...], shade: int = 99) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*shape[:2], 3), shade, np.uint8)).save(path)


def mask_file(path: Path, mask: Bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


def corner(side: int, value: int = 255) -> Bytes:
    mask = np.zeros((6, 8), np.uint8)
    mask[:side, :side] = value
    return mask


def perseg(root: Path, **objects: int) -> Path:
    """Objects with this many pictures; picture n shows a square of side n + 1."""
    for place, (name, count) in enumerate(objects.items()):
        for n in range(count):
            file = root / "PerSeg" / "Images" / name / f"{n:02d}.jpg"
            picture(file, (6, 8), shade=40 * place + 8 * n)
            palette = root / "PerSeg" / "Annotations" / name / f"{n:02d}.png"
            palette.parent.mkdir(parents=True, exist_ok=True)
            write_label(palette, corner(n + 1, 1))
    return root


def fss(root: Path, home: str, folders: list[str]) -> Path:
    """Every class has ten tiny pictures; linked, because they are all alike."""
    source = root / "one"
    for n in range(1, 11):
        picture(source / f"{n}.jpg", (6, 8), shade=20 * n)
        mask_file(source / f"{n}.png", corner(min(n, 6)))
    (root / home).mkdir(parents=True, exist_ok=True)
    for folder in folders:
        (root / home / folder).symlink_to(source)
    return root


def coco(root: Path, fold: int, images: int = 3, side: int = 70) -> Path:
    """``instances_val2014.json`` in which every picture shows all classes of a fold."""
    shape = (side, side + 10)
    content: dict[str, Any] = {"images": [], "annotations": [],
                               "categories": [{"id": i, "name": str(i)} for i in IDS]}  # fmt: skip
    for number in range(1, images + 1):
        name = f"COCO_val2014_{number:012d}.jpg"
        picture(root / "val2014" / name, shape, shade=30 * number)
        content["images"].append(
            {"id": number, "file_name": name, "height": shape[0], "width": shape[1]}
        )
        for c in range(fold, 80, 4):
            corners = [0, 0, 50, 0, 50, 50, 0, 50] if c else [0, 0, 40, 0, 40, 40, 0, 40]
            content["annotations"].append(
                {"image_id": number, "category_id": IDS[c], "iscrowd": 0,
                 "area": (corners[2] * corners[2]), "segmentation": [corners]}
            )  # fmt: skip
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / "annotations" / "instances_val2014.json").write_text(json.dumps(content))
    return root
