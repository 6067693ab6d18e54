"""COCO's ``instances_*.json``: which objects an image holds, and their masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ovbench.datasets.reading.coco_masks import Mask, decode_mask, read_json
from ovbench.datasets.reading.json_fields import (
    each_once,
    entries,
    field,
    integer,
    known_id,
    number,
    size,
    text,
)
from ovbench.errors import UsageError
from ovbench.harness.files.below import leads_outside


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """An image as the file lists it; sizes in pixels."""

    file_name: str
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width


@dataclass(frozen=True, slots=True)
class Annotation:
    """An object.

    Attributes:
        id: of the annotation, for messages.
        category: COCO's id, 1 to 90.
        crowd: a region of several objects that nobody told apart.
        area: pixels, as the file states them.
        segmentation: polygons, or a run-length code.
    """

    id: int | None
    category: int
    crowd: bool
    area: float
    segmentation: Any


class Instances:
    """The annotations of one file, read at once.

    Attributes:
        path: of the file.
        images: by image id.
        categories: ids in ascending order, which is the order of COCO's 80 names.

    Raises:
        UsageError: the file is missing, or not what COCO distributes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        content = read_json(path)
        try:
            self.images: Mapping[int, ImageEntry] = _images(entries(content, "images"))
            categories = {integer(one, "id") for one in entries(content, "categories")}
            self.categories = tuple(sorted(categories))
            self._annotations: dict[int, list[Annotation]] = {image: [] for image in self.images}
            for one in entries(content, "annotations"):
                image = integer(one, "image_id")
                if image not in self.images:
                    raise ValueError(f"no image {image}, which has an annotation")
                self._annotations[image].append(_annotation(one))
        except ValueError as error:
            raise UsageError(f"{path}: not COCO's instances ({error})") from None
        found = {one.category for objects in self._annotations.values() for one in objects}
        if strays := found.difference(self.categories):
            raise UsageError(f"{path}: category {min(strays)} is not in its list of categories")

    def annotations(self, image: int) -> Sequence[Annotation]:
        """The objects of an image in the order of the file."""
        return self._annotations[image]

    def mask(self, annotation: Annotation, entry: ImageEntry) -> Mask:
        """The pixels of an object, ``(H, W)``.

        Raises:
            DataError: the segmentation cannot be decoded or has another size; names the file.
        """
        source = f"{self.path}, image {entry.file_name}, annotation {annotation.id}"
        return decode_mask(annotation.segmentation, entry.height, entry.width, source)

    def paint(self, image: int, values: Mapping[int, int]) -> npt.NDArray[np.uint8]:
        """All objects of an image, ``(H, W)``; where they overlap, the first one shows.

        Args:
            values: by category.
        """
        entry = self.images[image]
        painted = np.zeros((entry.height, entry.width), dtype=np.uint8)
        # From the last to the first, so that the first one stays on top.
        for annotation in reversed(self._annotations[image]):
            painted[self.mask(annotation, entry)] = values[annotation.category]
        return painted

    def union(self, annotations: Iterable[Annotation], entry: ImageEntry) -> Mask:
        """The pixels of any of the objects, ``(H, W)``."""
        joined = np.zeros((entry.height, entry.width), dtype=bool)
        for annotation in annotations:
            joined |= self.mask(annotation, entry)
        return joined


def _images(listed: Sequence[Any]) -> dict[int, ImageEntry]:
    found: dict[int, ImageEntry] = {}
    for image in listed:
        one, entry = integer(image, "id"), ImageEntry(text(image, "file_name"), *size(image))
        if leads_outside(entry.file_name):
            raise ValueError(f"{entry.file_name[:80]!r} would lie elsewhere")
        if found.setdefault(one, entry) != entry:
            raise ValueError(f"two images have the id {one}")
    each_once([entry.file_name for entry in found.values()])
    return found


def _annotation(one: Any) -> Annotation:
    known = known_id(one)
    try:
        return Annotation(
            known,
            integer(one, "category_id"),
            bool(one.get("iscrowd")),
            number(one, "area"),
            field(one, "segmentation"),
        )
    except ValueError as error:
        raise ValueError(f"annotation {known}: {error}") from None
