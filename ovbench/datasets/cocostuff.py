"""COCO-Stuff 164k: 80 things and 91 kinds of stuff that label every pixel; no background.

Caesar, Uijlings and Ferrari, "COCO-Stuff: Thing and Stuff Classes in Context" (CVPR 2018).
A pixel of the official label files holds its category's id - 1, with gaps where COCO dropped
a category; mmsegmentation's converter closes the gaps. Both store 255 where nothing is labelled.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ovbench.datasets.choices import choose_split
from ovbench.datasets.encoding import LabelEncoding
from ovbench.datasets.files import FileDataset
from ovbench.datasets.names import read_vocabulary
from ovbench.errors import UsageError
from ovbench.harness.protocol import BackgroundRule, DatasetInfo, Kind

NUM_THINGS, NUM_STUFF = 80, 91
NUM_CLASSES = NUM_THINGS + NUM_STUFF
VOID = 255
LAST_STORED = 181
# Ids - 1 of categories that COCO announced and never annotated.
UNUSED = frozenset({11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90})
EXPECTED_IMAGES = {"val": 5000}

ARCHIVE = "stuffthingmaps_trainval2017.zip"


class Layout(NamedTuple):
    """Where pictures and label files may lie below the root.

    Attributes:
        label_suffix: of the file's name, behind the image's id.
        converted: label files hold mmsegmentation's "train ids" instead of category ids.
    """

    images: str
    labels: str
    label_suffix: str = ".png"
    converted: bool = False


MMSEG_SUFFIX = "_labelTrainIds.png"
LAYOUTS = (
    Layout("val2017", "stuffthingmaps/val2017"),
    Layout("val2017", "stuffthingmaps_trainval2017/val2017"),
    Layout("val2017", "val2017"),  # both archives unpacked in one place: .jpg beside .png
    Layout(
        "coco_stuff164k/images/val2017", "coco_stuff164k/annotations/val2017", MMSEG_SUFFIX, True
    ),
    Layout("images/val2017", "annotations/val2017", MMSEG_SUFFIX, True),
)


def open_cocostuff(
    root: Path | None,
    split: str | None,
    background: BackgroundRule | None,
    names: str | Path | None,
) -> FileDataset:
    """Open the validation images of COCO 2017 with COCO-Stuff's labels.

    Args:
        root: holds ``val2017`` with the pictures and ``stuffthingmaps/val2017`` with the label
            files; or mmsegmentation's ``coco_stuff164k``. See :data:`LAYOUTS`.
        split: val, the only one.
        background: "none", the only rule.
        names: see :func:`~ovbench.datasets.names.read_vocabulary`.

    Raises:
        UsageError: files are not there, or there is no such split or background rule.
    """
    split = choose_split("cocostuff", split, EXPECTED_IMAGES)
    if background not in (None, "none"):
        raise UsageError(f"cocostuff has no background to {background!r}")
    kinds: list[Kind] = ["thing"] * NUM_THINGS
    kinds += ["stuff"] * NUM_STUFF
    vocabulary = read_vocabulary(
        "cocostuff", names, num_classes=NUM_CLASSES, background=False, kinds=kinds
    )
    home, layout, ids = _find(root)
    return FileDataset(
        DatasetInfo("cocostuff", split, "none", VOID, EXPECTED_IMAGES[split]),
        vocabulary,
        ids,
        home / layout.images,
        home / layout.labels,
        converted_encoding() if layout.converted else official_encoding(),
        label_suffix=layout.label_suffix,
    )


def official_encoding() -> LabelEncoding:
    """Category ids - 1, without the unused ones: things to 0..79, stuff to 80..170."""
    used = [value for value in range(LAST_STORED + 1) if value not in UNUSED]
    labels = {value: label for label, value in enumerate(used)}
    return LabelEncoding.of("cocostuff", {VOID: VOID, **labels})


def converted_encoding() -> LabelEncoding:
    """Labels as mmsegmentation's converter writes them, which are the vocabulary's."""
    labels = {label: label for label in range(NUM_CLASSES)}
    return LabelEncoding.of("cocostuff", {VOID: VOID, **labels})


def _find(root: Path | None) -> tuple[Path, Layout, list[str]]:
    """The first layout with label files, and the ids of these."""
    if root is None:
        raise UsageError(f"cocostuff needs --root DIR or OVBENCH_DATA: where {ARCHIVE} is unpacked")
    for layout in LAYOUTS:
        files = (root / layout.labels).glob(f"*{layout.label_suffix}")
        if ids := sorted(file.name.removesuffix(layout.label_suffix) for file in files):
            if not (root / layout.images).is_dir():
                raise UsageError(
                    f"{root / layout.images}: no such folder, but the labels in "
                    f"{root / layout.labels} need its pictures (val2017.zip)"
                )
            return root, layout, ids
    raise UsageError(
        f"{root}: cocostuff is not here; it should hold val2017/*.jpg and "
        f"stuffthingmaps/val2017/*.png (unzip {ARCHIVE} -d {root / 'stuffthingmaps'})"
    )
