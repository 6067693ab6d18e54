"""Benchmarks whose samples are an image file and a label file each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from ovbench.datasets.encoding import LabelEncoding
from ovbench.errors import DataError, UsageError
from ovbench.harness.images import read_image, read_label
from ovbench.harness.protocol import DatasetInfo, LabelMap, Sample, Vocabulary


@dataclass(frozen=True, eq=False)
class FileDataset:
    """Samples ``<image_dir>/<id><image_suffix>`` and ``<label_dir>/<id><label_suffix>``.

    Attributes:
        ids: may hold folders, such as ``"frankfurt/frankfurt_000000_000294"``.
        encoding: from stored label values to labels of the vocabulary.
    """

    info: DatasetInfo
    vocabulary: Vocabulary
    ids: Sequence[str]
    image_dir: Path
    label_dir: Path
    encoding: LabelEncoding
    image_suffix: str = ".jpg"
    label_suffix: str = ".png"

    def image_path(self, image: str) -> Path:
        """The picture of an id."""
        return self.image_dir / f"{image}{self.image_suffix}"

    def label_path(self, image: str) -> Path:
        """The label file of an id."""
        return self.label_dir / f"{image}{self.label_suffix}"

    def load(self, index: int) -> Sample:
        """Read sample ``index``.

        Raises:
            DataError: a file is missing, corrupt, of another size or holds unknown labels.
        """
        name = self.ids[index]
        image = read_image(self.image_path(name))
        path = self.label_path(name)
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
        return self.encoding.decode(raw, source)


def read_id_list(path: Path) -> list[str]:
    """Image ids, one per line; blank lines are left out.

    Raises:
        UsageError: missing, not text, empty, or an id twice; names the file.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8 text") from None
    ids = [line.strip() for line in lines if line.strip()]
    if not ids:
        raise UsageError(f"{path}: lists no images")
    name, times = Counter(ids).most_common(1)[0]
    if times > 1:
        raise UsageError(f"{path}: lists {name} more than once")
    return ids


def _size(array: npt.NDArray[Any]) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
