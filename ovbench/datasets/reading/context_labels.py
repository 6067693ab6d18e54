"""PASCAL Context's 459 ids in its two distributions, and the 59 classes among them.

Both number regions by their line in the label pack's list of 459 names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ovbench.datasets.reading.coco_masks import decode_mask, read_json
from ovbench.datasets.reading.encoding import LabelEncoding
from ovbench.datasets.reading.files import Files
from ovbench.datasets.reading.json_fields import (
    each_once,
    entries,
    field,
    integer,
    known_id,
    size,
    text,
)
from ovbench.errors import DataError, UsageError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import BackgroundRule
from ovbench.harness.files.regular import regular

# Ids of the 59 classes in alphabetical order of their names, which is label order
# (mmsegmentation, tools/dataset_converters/pascal_context.py).
CLASS_IDS = (
    *(2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105),
    *(113, 115, 144, 158, 159, 162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308),
    *(324, 326, 347, 349, 354, 355, 360, 366, 368, 397, 415, 416, 420, 424, 427, 440, 445, 454),
    458,
)
LAST_ID = 459
VOID = 255


def id_encoding(background: BackgroundRule) -> LabelEncoding:
    """From the 459 ids to the classes; every other id, and 0 for nothing, is background."""
    scored = background == "class"
    rest, first = (0, 1) if scored else (VOID, 0)
    labels = dict.fromkeys(range(LAST_ID + 1), rest)
    labels |= {value: first + label for label, value in enumerate(CLASS_IDS)}
    return LabelEncoding.of("context", labels)


@dataclass(frozen=True, slots=True)
class MatFiles(Files):
    """The label pack: one MATLAB file per image with a matrix ``LabelMap`` of ids."""

    suffix: str = ".mat"

    def read(self, image: str) -> LabelMap:
        """Ids, ``(H, W)`` uint16.

        Raises:
            DataError: missing, or not a file of the pack; names it.
        """
        from scipy.io import loadmat

        path = self.source(image)
        try:
            label = loadmat(regular(path), variable_names="LabelMap")["LabelMap"]
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except Exception as error:  # whatever the parser meets in a broken file
            raise DataError(
                f"{path}: not a file of the label pack ({_first_line(error)}); fetch it again"
            ) from None
        if label.ndim != 2 or label.dtype.kind not in "ui":
            raise DataError(f"{path}: LabelMap is {label.dtype} {label.shape}, not a map of ids")
        ids: LabelMap = label.astype(np.uint16)
        if (ids != label).any():
            raise DataError(f"{path}: LabelMap holds {label.min()} to {label.max()}, not ids")
        return ids


@dataclass(frozen=True, slots=True)
class Region:
    """A region: its id if the file has one, of the 459 ids its own, and its run-length code."""

    id: int | None
    category: int
    code: Any


@dataclass(frozen=True, slots=True)
class DetailImage:
    """An image of the Detail API's file.

    Attributes:
        regions: in the order of the file.
    """

    height: int
    width: int
    phase: str
    regions: list[Region]


class DetailLabels:
    """``trainval_merged.json`` of the Detail API, read at once.

    Attributes:
        path: of the file.
        images: by the stem of the picture's name.

    Raises:
        UsageError: the file is missing, or not the Detail API's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        content = read_json(path)
        try:
            images: dict[int, tuple[str, DetailImage]] = {}
            for one in entries(content, "images"):
                name = Path(text(one, "file_name")).stem
                entry = name, DetailImage(*size(one), text(one, "phase"), [])
                number = integer(one, "image_id")
                if images.setdefault(number, entry) != entry:
                    raise ValueError(f"two images have the id {number}")
            each_once([name for name, _ in images.values()])
            self.images: Mapping[str, DetailImage] = dict(images.values())
            for one in entries(content, "annos_segmentation"):
                image = integer(one, "image_id")
                if image not in images:
                    raise ValueError(f"no image {image}, which has a region")
                images[image][1].regions.append(_region(one))
        except ValueError as error:
            raise UsageError(f"{path}: not the Detail API's file ({error})") from None

    def ids(self, split: str) -> Sequence[str]:
        """The images of "train" or "val", sorted."""
        return sorted(name for name, image in self.images.items() if image.phase == split)

    def source(self, image: str) -> Path:
        """The file of all of them."""
        return self.path

    def stated_size(self, image: str) -> tuple[int, int]:
        """See :class:`~ovbench.datasets.reading.files.Labels`."""
        found = self._image(image)
        return found.height, found.width

    def read(self, image: str) -> LabelMap:
        """Ids, ``(H, W)`` uint16; where regions overlap, the last one shows, as in ``getMask``.

        Raises:
            DataError: the file has no such image, or a mask that cannot be decoded.
        """
        found = self._image(image)
        painted = np.zeros((found.height, found.width), dtype=np.uint16)
        for region in found.regions:
            source = f"{self.path}, image {image}, annotation {region.id}"
            mask = decode_mask(region.code, found.height, found.width, source)
            painted[mask] = region.category
        return painted

    def _image(self, name: str) -> DetailImage:
        if name not in self.images:
            raise DataError(f"{self.path}: has no image {name}")
        return self.images[name]


def _region(one: Any) -> Region:
    known = known_id(one)
    try:
        category = integer(one, "category_id", most=np.iinfo(np.uint16).max)
        return Region(known, category, field(one, "segmentation"))
    except ValueError as error:
        raise ValueError(f"annotation {known}: {error}") from None


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
