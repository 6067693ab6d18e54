"""Where a benchmark's pictures and label files may lie below a root, found by looking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ovbench.datasets.files import ImageFiles, LabelFiles
from ovbench.errors import UsageError


@dataclass(frozen=True, slots=True)
class Layout:
    """One place for pictures and one for label files; both are below the root.

    Attributes:
        images, labels: folders.
        image_suffix, label_suffix: of a file's name, behind the image's id.
        converted: label files hold what mmsegmentation's converter wrote.
    """

    images: str
    labels: str
    image_suffix: str = ".jpg"
    label_suffix: str = ".png"
    converted: bool = False


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
    """Whether any layout's folder of label files is there."""
    return any(any((root / x.labels).glob(f"*{x.label_suffix}")) for x in layouts)


def find(benchmark: str, root: Path, layouts: Sequence[Layout], hint: str) -> Found:
    """The first layout with label files.

    Args:
        hint: how to mend it if there is none.

    Raises:
        UsageError: no layout is there, or one without its folder of pictures.
    """
    for layout in layouts:
        images = ImageFiles(root / layout.images, layout.image_suffix)
        labels = LabelFiles(root / layout.labels, layout.label_suffix)
        if ids := labels.ids():
            if not images.folder.is_dir():
                raise UsageError(
                    f"{images.folder}: no such folder, but the labels in {labels.folder} need "
                    "its pictures"
                )
            return Found(layout, images, labels, sorted(ids | images.ids()))
    raise UsageError(f"{root}: {benchmark} is not here; {hint}")
