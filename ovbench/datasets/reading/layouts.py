"""Where a benchmark's pictures and label files may lie below a root, found by looking."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovbench.datasets.reading.files import ImageFiles, LabelFiles
from ovbench.errors import UsageError

# What lies on many disks and is not read: where to look, and what it is.
OTHER_FORMS = (
    (("", "*/", "VOCdevkit/*/"), "annotations_detectron2*", "CAT-Seg's conversion"),
    (("", "*/", "annotations/", "*/annotations/"), "panoptic_*", "panoptic segments"),
    (("", "data/", "*/"), "*.parquet", "tables of the Hugging Face hub"),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Places for pictures and one for label files.

    Attributes:
        home: the folder below the root that the label files' folder is in, with a slash behind it.
        labels: folder in the home.
        images: folders below the root, of which the first one with pictures counts.
        image_suffix, label_suffix: of a file's name, behind the image's id.
        converted: label files hold what mmsegmentation's converter wrote.
        others: endings of other label files in the same folder.
    """

    home: str
    labels: str
    images: tuple[str, ...]
    image_suffix: str = ".jpg"
    label_suffix: str = ".png"
    converted: bool = False
    others: tuple[str, ...] = ()

    def label_files(self, root: Path) -> LabelFiles:
        """The label files below a root, whether they are there or not."""
        return LabelFiles(root / f"{self.home}{self.labels}", self.label_suffix)

    def label_ids(self, root: Path) -> set[str]:
        """Of the label files that are there."""
        found = self.label_files(root)
        return {i for i in found.ids() if not f"{i}{found.suffix}".endswith(self.others)}


@dataclass(frozen=True, slots=True)
class Found:
    """A layout that is there.

    Attributes:
        ids: of every picture and every label file, sorted: one without the other is an error
            when it is read, not an image less.
    """

    layout: Layout
    images: ImageFiles
    labels: LabelFiles
    ids: list[str]


def present(root: Path, layouts: Sequence[Layout]) -> bool:
    """Whether any layout's label files are there."""
    return any(layout.label_ids(root) for layout in layouts)


def find(benchmark: str, root: Path, layouts: Sequence[Layout], hint: str) -> Found:
    """The first layout with label files.

    Args:
        hint: how to mend it if there is none.

    Raises:
        UsageError: no layout is there, or one without its pictures.
    """
    for layout in layouts:
        if ids := layout.label_ids(root):
            labels = layout.label_files(root)
            images = pictures(
                root, layout.images, f"{layout.home}{layout.labels}", layout.image_suffix
            )
            return Found(layout, images, labels, sorted(ids | images.ids()))
    names = dict.fromkeys(f"{layout.labels}/*{layout.label_suffix}" for layout in layouts)
    raise not_here(benchmark, root, names, hint, homes=[layout.home for layout in layouts])


def pictures(
    root: Path, folders: Sequence[str], needed_by: str, suffix: str = ".jpg"
) -> ImageFiles:
    """The pictures in the first of some folders below a root that has any.

    Args:
        needed_by: the labels, for the message.

    Raises:
        UsageError: none has.
    """
    for folder in folders:
        images = ImageFiles(root / folder, suffix)
        if images.ids():
            return images
    looked = ", ".join(f"{folder}/*{suffix}" for folder in folders)
    raise UsageError(f"{root}: {needed_by} needs its pictures, but there are no {looked}")


def not_here(
    benchmark: str, root: Path, names: Iterable[str], hint: str, *, homes: Iterable[str] = ()
) -> UsageError:
    """What to say of a root without a benchmark.

    Args:
        names: what was looked for.
        hint: what it should hold, and what brings it.
        homes: folders below the root in which it was looked for, too.
    """
    inside = ", ".join(home.rstrip("/") for home in dict.fromkeys(homes) if home)
    also = f", there and in {inside}" if inside else ""
    other = f"; found {others}, which is not read" if (others := _other_forms(root)) else ""
    return UsageError(
        f"{root}: {benchmark} is not here; looked for {', '.join(names)}{also}{other}; {hint}"
    )


def _other_forms(root: Path) -> str:
    """What is there instead; the first of each kind."""
    found = []
    for folders, name, what in OTHER_FORMS:
        places = (place for folder in folders for place in sorted(root.glob(f"{folder}{name}")))
        if (place := next(places, None)) is not None:
            found.append(f"{place.relative_to(root).as_posix()} ({what})")
    return " and ".join(found)
