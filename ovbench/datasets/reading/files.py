"""Benchmarks whose samples are an image file and a label map each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ovbench.datasets.reading.encoding import LabelEncoding
from ovbench.errors import DataError, UsageError
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.datasets import DatasetInfo, Sample
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.files.below import leads_outside
from ovbench.harness.files.digests import digest_of_files
from ovbench.harness.files.images import is_turned, read_image, read_label
from ovbench.harness.files.regular import regular
from ovbench.text import visible


class Pictures(Protocol):
    """Where a benchmark keeps its images."""

    def source(self, image: str) -> Path:
        """The file of an image id."""
        ...


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

    def stated_size(self, image: str) -> tuple[int, int] | None:
        """The height and width that a file of annotations states; None where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Files:
    """Files ``<folder>/<id><suffix>``; an id may hold folders."""

    folder: Path
    suffix: str

    def source(self, image: str) -> Path:
        """The file of an id."""
        return self.folder / f"{image}{self.suffix}"

    def stated_size(self, image: str) -> tuple[int, int] | None:
        """None: label maps have the size that they have."""
        return None

    def ids(self) -> set[str]:
        """What lies in the folder and below it; empty if it does not exist.

        Raises:
            UsageError: a link leads back to a folder that it lies in.
        """
        if not self.folder.is_dir():
            return set()
        return {
            (path / name).relative_to(self.folder).as_posix().removesuffix(self.suffix)
            for path, names in walk(self.folder)
            for name in names
            if name.endswith(self.suffix)
        }


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
    images: Pictures
    labels: Labels
    encoding: LabelEncoding

    def load(self, index: int) -> Sample:
        """Read sample ``index``.

        Raises:
            DataError: a file is missing, corrupt, of another size or holds unknown labels.
        """
        name = self.ids[index]
        image = read_image(self.images.source(name))
        source, picture = self.labels.source(name), self.images.source(name)
        require_size(source, self.labels.stated_size(name), name, image, picture)
        label = self.decode(self.labels.read(name), source)
        require_size(source, label.shape, name, image, picture)
        return Sample(name, image, label)

    def digests(self, ids: Sequence[str]) -> dict[str, str]:
        """What the files of some images hold, and what the values in them stand for."""
        images = ((name, self.images.source(name)) for name in ids)
        labels = ((name, self.labels.source(name)) for name in ids)
        meaning = hashlib.sha256(self.encoding.table.tobytes())
        meaning.update(repr(getattr(self.labels, "colours", ())).encode())
        meaning.update(digest_of_files(labels, "digests of labels").encode())
        return {
            "images": digest_of_files(images, "digests of images"),
            "labels": meaning.hexdigest(),
        }

    def decode(self, raw: LabelMap, source: Path) -> LabelMap:
        """Map stored label values to labels of the vocabulary.

        Raises:
            DataError: a value the benchmark does not know; names the file.
        """
        return self.encoding.decode(raw, source)


def walk(folder: Path, above: tuple[str, ...] = ()) -> Iterator[tuple[Path, list[str]]]:
    """Every folder from this one down, links followed, with the names of its files.

    Names that begin with a dot are left out: systems leave such files everywhere.

    Args:
        above: the real paths of the folders that led here.

    Raises:
        UsageError: a link leads back to a folder that it lies in, a folder cannot be read, or a
            name is not UTF-8.
    """
    here = os.path.realpath(folder)
    if here in above:
        raise UsageError(f"{folder}: a link that leads back to {here}, which it lies in; remove it")
    try:
        with os.scandir(folder) as entries:
            folders = {utf8(folder, e.name): _is_folder(e) for e in entries if e.name[0] != "."}
    except OSError as error:
        raise UsageError(f"{folder}: cannot be read ({error.strerror})") from None
    yield folder, [name for name, is_folder in folders.items() if not is_folder]
    for name, is_folder in folders.items():
        if is_folder:
            yield from walk(folder / name, (*above, here))


def utf8(where: Path | str, name: str) -> str:
    """The name of a file, which results hold as text.

    Args:
        where: it lies, for the message.

    Raises:
        UsageError: it is not UTF-8.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{where}: the file name '{visible(name)}' is not UTF-8; rename it"
        ) from None
    return name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """A link to itself is a file: reading it says what is wrong."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def read_id_list(path: Path) -> list[str]:
    """Image ids, one per line; blank lines are left out.

    Raises:
        UsageError: missing, not text, empty, an id twice, or one that is a path to elsewhere;
            names the file and the line.
    """
    try:
        lines = regular(path).read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8 text") from None
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not (name := line.strip()):
            continue
        if leads_outside(name):
            raise UsageError(f"{path}, line {number}: {name[:80]!r} would lie elsewhere")
        if (first := seen.setdefault(name, number)) != number:
            raise UsageError(f"{path}: lists {name} more than once (lines {first} and {number})")
    if not seen:
        raise UsageError(f"{path}: lists no images")
    return list(seen)


def require_size(
    source: Path | str, size: tuple[int, ...] | None, name: str, image: Image, picture: Path
) -> None:
    """Labels have the size of their image.

    Args:
        source: of the labels.
        size: their height and width; None where nobody states it.
        name, image, picture: of the image: its id, its pixels, its file.

    Raises:
        DataError: they have another; names both, and what EXIF data have to do with it.
    """
    if size is not None and size != image.shape[:2]:
        raise DataError(
            f"{source}: {_size(size)} pixels, but its image {name} has {_size(image.shape)}; "
            f"the two do not belong together{turned(picture, size)}"
        )


def turned(picture: Path, drawn: tuple[int, ...]) -> str:
    """What to say of a label map that lies on its picture once that is turned; else nothing.

    Args:
        drawn: height and width of the labels.
    """
    if read_image(picture).shape[1::-1] != drawn or not is_turned(picture):
        return ""
    return (
        ": they would if the picture were turned as its EXIF data says, but labels are read on the "
        "pixels as stored; save the picture turned, without EXIF"
    )


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
