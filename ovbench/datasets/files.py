"""Benchmarks whose samples are an image file and a label file each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ovbench.errors import DataError, UsageError
from ovbench.harness.images import read_image, read_label
from ovbench.harness.protocol import DatasetInfo, LabelMap, Sample, Vocabulary

UNKNOWN = 0xFFFF
"""Entry of a :func:`label_table` for values that a label file must not hold."""

LabelTable = npt.NDArray[np.uint16]


def label_table(mapping: dict[int, int]) -> LabelTable:
    """A look-up table, ``(256,)``, from stored values to labels of the vocabulary."""
    table = np.full(256, UNKNOWN, dtype=np.uint16)
    for stored, label in mapping.items():
        table[stored] = label
    return table


@dataclass(frozen=True, eq=False)
class FileDataset:
    """Samples ``<image_dir>/<id><image_suffix>`` and ``<label_dir>/<id><label_suffix>``.

    Attributes:
        table: from stored label values to labels of the vocabulary, see :func:`label_table`.
    """

    info: DatasetInfo
    vocabulary: Vocabulary
    ids: Sequence[str]
    image_dir: Path
    label_dir: Path
    table: LabelTable
    image_suffix: str = ".jpg"
    label_suffix: str = ".png"

    def load(self, index: int) -> Sample:
        """Read sample ``index``.

        Raises:
            DataError: a file is missing, corrupt, of another size or holds unknown labels.
        """
        name = self.ids[index]
        image = read_image(self.image_dir / f"{name}{self.image_suffix}")
        path = self.label_dir / f"{name}{self.label_suffix}"
        label = self.decode(read_label(path), path)
        if label.shape != image.shape[:2]:
            raise DataError(
                f"{path}: {_size(label)} pixels, but its image has {_size(image)}; "
                "the two do not belong together"
            )
        return Sample(name, image, label)

    def decode(self, raw: LabelMap, source: Path) -> LabelMap:
        """Map stored label values to labels of the vocabulary.

        Raises:
            DataError: a value the benchmark does not know; names the file.
        """
        if raw.dtype != np.uint8:
            raise DataError(f"{source}: expected 8-bit label values, found {raw.dtype}")
        if strays := [v for v in _values(raw) if self.table[v] == UNKNOWN]:
            raise DataError(f"{source}: label values {strays} are unknown to {self.info.name}")
        return self.table.astype(np.uint8)[raw]


def read_id_list(path: Path) -> list[str]:
    """Image ids, one per line.

    Raises:
        UsageError: missing or empty, or an id twice; names the file.
    """
    try:
        ids = path.read_text(encoding="utf-8").split()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    if not ids:
        raise UsageError(f"{path}: lists no images")
    if len(set(ids)) < len(ids):
        twin = next(name for name in ids if ids.count(name) > 1)
        raise UsageError(f"{path}: lists {twin} more than once")
    return ids


def _values(raw: LabelMap) -> list[int]:
    return [int(v) for v in np.flatnonzero(np.bincount(raw.ravel(), minlength=256))]


def _size(array: npt.NDArray[Any]) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
