"""PASCAL VOC 2012: 20 classes, with background as a class (VOC21) or left out (VOC20).

Label files are palette PNGs: 0 is background, 1 to 20 the classes, 255 the void rim between
objects, which is never scored.
"""

from __future__ import annotations

from pathlib import Path

from ovbench.datasets.choosing.choices import Choices
from ovbench.datasets.names import read_vocabulary
from ovbench.datasets.reading.encoding import background_encoding
from ovbench.datasets.reading.files import FileDataset, ImageFiles, LabelFiles, read_id_list
from ovbench.datasets.reading.layouts import not_here
from ovbench.harness.contract.datasets import DatasetInfo

NUM_CLASSES = 20
VOID = 255
# ImageSets/Segmentation of the archive.
EXPECTED_IMAGES = {"train": 1464, "val": 1449, "trainval": 2913}

ARCHIVE = "VOCtrainval_11-May-2012.tar"
HOME = Path("VOCdevkit") / "VOC2012"
LABELS = "SegmentationClass"


def open_voc(choices: Choices) -> FileDataset:
    """Open VOC 2012 in its official layout; background is label 0, or its pixels are dropped.

    Args:
        choices: the root holds ``VOCdevkit/VOC2012``; that folder or its parent is accepted
            too. Splits are train, val and trainval.

    Raises:
        UsageError: files or the split are not there, or the background rule does not apply.
    """
    split = choices.split_of("voc", EXPECTED_IMAGES)
    background = choices.background_of("voc")
    vocabulary = read_vocabulary(
        "voc",
        choices.names,
        num_classes=NUM_CLASSES,
        background=background == "class",
        kinds=["thing"] * NUM_CLASSES,
    )
    home = _find(choices.folder("voc", f"{ARCHIVE} unpacked"))
    return FileDataset(
        DatasetInfo("voc", split, background, VOID, EXPECTED_IMAGES[split]),
        vocabulary,
        read_id_list(home / "ImageSets" / "Segmentation" / f"{split}.txt"),
        ImageFiles(home / "JPEGImages"),
        LabelFiles(home / LABELS),
        background_encoding("voc", NUM_CLASSES, background),
    )


def _find(root: Path) -> Path:
    places = (HOME.as_posix(), HOME.name, ".")
    for home in (root / place for place in places):
        if (home / LABELS).is_dir():
            return home
    hint = (
        f"it should hold {HOME.as_posix()}/{LABELS} (tar -xf {ARCHIVE} -C {root}, or "
        f"`ovbench datasets prepare voc --root {root}`)"
    )
    raise not_here("voc", root, [f"{place}/{LABELS}" for place in places], hint)
