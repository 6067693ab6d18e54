"""A user's own images: ``images/``, ``masks/*.png`` and ``classes.txt``, no line of code.

A mask has its image's name, below the same folders if there are any. It holds one value per
pixel, or one colour if ``classes.txt`` says which (:mod:`ovbench.datasets.reading.class_list`), and
nothing that the list does not name. If the first class is named "background", the dataset has a
background.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ovbench.datasets.choosing.choices import Choices, NoSuchSplitError
from ovbench.datasets.names import parse_vocabulary, read_vocabulary
from ovbench.datasets.reading.class_list import VOID, ClassList, read_class_list
from ovbench.datasets.reading.colour_masks import ColourMasks
from ovbench.datasets.reading.encoding import LabelEncoding
from ovbench.datasets.reading.files import FileDataset, LabelFiles, read_id_list, walk
from ovbench.errors import DataError, UsageError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import BackgroundRule, DatasetInfo
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.files.images import ColourLabelError, read_label

EVERYTHING = "all"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
PARTS = ("images", "masks", "classes.txt")
LAYOUT = "images/, masks/*.png and classes.txt"
ADVICE = (
    "give each a line in classes.txt: 'VALUE: NAME' for a class, 'VALUE: (ignore)' for pixels "
    "that are not scored"
)


def open_folder(choices: Choices) -> FileDataset:
    """Open a folder of a user's own.

    Args:
        choices: the root holds :data:`LAYOUT`. The split "all" (default) is every image, any
            other one the ids in ``<split>.txt``.

    Raises:
        UsageError: files are not there, or ``classes.txt`` is wrong.
    """
    root = choices.folder("folder", LAYOUT)
    for part in PARTS:
        if not (root / part).exists():
            raise UsageError(f"{root / part}: not there; a folder holds {LAYOUT}")
    classes = read_class_list(root / "classes.txt")
    rules = choices.background_of if classes.background else choices.no_background
    background, split = rules("folder"), choices.split or EVERYTHING
    pictures, masks = PictureFiles.below(root / "images"), IndexMasks(root / "masks")
    return FileDataset(
        # Two folders are two datasets: their name tells their results apart.
        DatasetInfo("folder", split, background, VOID, variant=root.resolve().name),
        _vocabulary(classes, choices, background),
        _ids(root, split, {*pictures.files, *masks.ids()}),
        pictures,
        ColourMasks(masks.folder, colours=tuple(classes.colours)) if classes.colours else masks,
        _encoding(classes, background),
    )


@dataclass(frozen=True, slots=True)
class IndexMasks(LabelFiles):
    """Index or palette PNGs, where no line of ``classes.txt`` names a colour."""

    def read(self, image: str) -> LabelMap:
        """See :class:`~ovbench.datasets.reading.files.Labels`."""
        try:
            return read_label(self.source(image))
        except ColourLabelError as error:
            raise DataError(
                f"{error}; where colours stand for the classes, begin each line of classes.txt "
                "with its colour: '64 128 0: cat'"
            ) from None


@dataclass(frozen=True, slots=True)
class PictureFiles:
    """Pictures of several formats side by side.

    Attributes:
        files: by image id.
    """

    folder: Path
    files: Mapping[str, Path]

    @classmethod
    def below(cls, folder: Path) -> PictureFiles:
        """Those in a folder and the folders in it.

        Raises:
            UsageError: two pictures have one name.
        """
        files: dict[str, Path] = {}
        for path, names in walk(folder):
            for file in (path / name for name in names):
                if file.suffix.lower() in IMAGE_SUFFIXES:
                    image = file.relative_to(folder).with_suffix("").as_posix()
                    if files.setdefault(image, file) != file:
                        raise UsageError(f"{file}: {files[image]} has the same name; keep one")
        return cls(folder, files)

    def source(self, image: str) -> Path:
        """The file of an id, also of an id that has none."""
        return self.files.get(image, self.folder / f"{image}{IMAGE_SUFFIXES[0]}")


def _vocabulary(classes: ClassList, choices: Choices, background: BackgroundRule) -> Vocabulary:
    """The classes under the names asked for, by default those of the list."""
    count, rule = len(classes.keys) - classes.background, background == "class"
    if choices.names is not None:
        return read_vocabulary("folder", choices.names, num_classes=count, background=rule)
    source = str(classes.source)
    names = parse_vocabulary(classes.names, source, "folder", num_classes=count, background=rule)
    return replace(names, source=classes.source.name)


def _encoding(classes: ClassList, background: BackgroundRule) -> LabelEncoding:
    """From values, or from the positions of colours, to labels."""
    labels = list(range(len(classes.keys)))
    if background == "ignore":
        labels = [VOID, *labels[:-1]]
    labels += [VOID] * len(classes.ignored)
    keys = range(len(labels)) if classes.colours else (*classes.keys, *classes.ignored)
    values = {key: label for key, label in zip(keys, labels, strict=True) if isinstance(key, int)}
    return LabelEncoding.of("folder", values, ADVICE)


def _ids(root: Path, split: str, everything: set[str]) -> list[str]:
    if split != EVERYTHING:
        path = root / f"{split}.txt"
        if not path.exists():
            raise NoSuchSplitError(f"folder has no split {split!r}: {path} would list its images")
        return read_id_list(path)
    if not everything:
        raise UsageError(f"{root}: holds no images; a folder holds {LAYOUT}")
    return sorted(everything)
