"""Benchmarks whose samples are an image file and a label map each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from ovbench.datasets.encoding import LabelEncoding
from ovbench.errors import DataError, UsageError
from ovbench.harness.images import read_image, read_label
from ovbench.harness.protocol import DatasetInfo, LabelMap, Sample, Vocabulary


class Labels(Protocol):
    """Where a benchmark keeps the labels of its images."""

    def read(self, image: str) -> LabelMap:
        """The label map of an image id, ``(H, W)``, with the values as stored.

        Raises:
            DataError: missing or corrupt; names the file.
        """
        ...

    def source(self, image: str) -> Path:
        """The file that holds them, for messages."""
        ...


@dataclass(frozen=True, slots=True)
class Files:
    """Files ``<folder>/<id><suffix>``; an id may hold folders."""

    folder: Path
    suffix: str

    def source(self, image: str) -> Path:
        """The file of an id."""
        return self.folder / f"{image}{self.suffix}"

    def ids(self) -> set[str]:
        """What lies directly in the folder; empty if it does not exist."""
        files = self.folder.glob(f"*{self.suffix}")
        return {file.name.removesuffix(self.suffix) for file in files}


@dataclass(frozen=True, slots=True)
class LabelFiles(Files):
    """Index or palette PNGs."""

    suffix: str = ".png"

    def read(self, image: str) -> LabelMap:
        """See :class:`Labels`."""
        return read_label(self.source(image))


@dataclass(frozen=True, slots=True)
class ImageFiles(Files):
    """Pictures."""

    suffix: str = ".jpg"


@dataclass(frozen=True, eq=False)
class FileDataset:
    """Pictures, and labels that lie in files of their own or together in one.

    Attributes:
        encoding: from stored label values to labels of the vocabulary.
    """

    info: DatasetInfo
    vocabulary: Vocabulary
    ids: Sequence[str]
    images: ImageFiles
    labels: Labels
    encoding: LabelEncoding

    def load(self, index: int) -> Sample:
        """Read sample ``index``.

        Raises:
            DataError: a file is missing, corrupt, of another size or holds unknown labels.
        """
        name = self.ids[index]
        image = read_image(self.images.source(name))
        source = self.labels.source(name)
        label = self.decode(self.labels.read(name), source)
        if label.shape != image.shape[:2]:
            raise DataError(
                f"{source}: {_size(label)} pixels, but its image {name} has {_size(image)}; "
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
