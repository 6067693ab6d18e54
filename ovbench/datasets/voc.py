"""PASCAL VOC 2012: 20 classes, with background as a class (VOC21) or left out (VOC20).

Label files are palette PNGs: 0 is background, 1 to 20 the classes, 255 the void rim between
objects, which is never scored.
"""

from __future__ import annotations

from pathlib import Path

from ovbench.datasets.choices import choose_background, choose_split
from ovbench.datasets.encoding import LabelEncoding
from ovbench.datasets.files import FileDataset, read_id_list
from ovbench.datasets.names import read_vocabulary
from ovbench.errors import UsageError
from ovbench.harness.protocol import BackgroundRule, DatasetInfo

NUM_CLASSES = 20
VOID = 255
# ImageSets/Segmentation of the archive.
EXPECTED_IMAGES = {"train": 1464, "val": 1449, "trainval": 2913}

ARCHIVE = "VOCtrainval_11-May-2012.tar"
HOME = Path("VOCdevkit") / "VOC2012"


def open_voc(
    root: Path | None,
    split: str | None,
    background: BackgroundRule | None,
    names: str | Path | None,
) -> FileDataset:
    """Open VOC 2012 in its official layout.

    Args:
        root: holds ``VOCdevkit/VOC2012``; that folder or its parent is accepted too.
        split: train, val (default) or trainval.
        background: "class" (default) scores background as label 0; "ignore" drops its pixels.
        names: see :func:`~ovbench.datasets.names.read_vocabulary`.

    Raises:
        UsageError: files or the split are not there, or the background rule does not apply.
    """
    split = choose_split("voc", split, EXPECTED_IMAGES)
    background = choose_background("voc", background)
    vocabulary = read_vocabulary(
        "voc",
        names,
        num_classes=NUM_CLASSES,
        background=background == "class",
        kinds=["thing"] * NUM_CLASSES,
    )
    home = _find(root)
    return FileDataset(
        DatasetInfo("voc", split, background, VOID, EXPECTED_IMAGES[split]),
        vocabulary,
        read_id_list(home / "ImageSets" / "Segmentation" / f"{split}.txt"),
        home / "JPEGImages",
        home / "SegmentationClass",
        voc_encoding(background),
    )


def voc_encoding(background: BackgroundRule) -> LabelEncoding:
    """The label files' values under a background rule, "class" or "ignore"."""
    if background == "class":
        return LabelEncoding.of("voc", {VOID: VOID, **{v: v for v in range(NUM_CLASSES + 1)}})
    classes = {v: v - 1 for v in range(1, NUM_CLASSES + 1)}
    return LabelEncoding.of("voc", {VOID: VOID, 0: VOID, **classes})


def _find(root: Path | None) -> Path:
    if root is None:
        raise UsageError(f"voc needs --root DIR or OVBENCH_DATA: where {ARCHIVE} was unpacked")
    for home in (root / HOME, root / HOME.name, root):
        if (home / "SegmentationClass").is_dir():
            return home
    raise UsageError(
        f"{root}: voc is not here; it should hold {HOME.as_posix()}/SegmentationClass "
        f"(tar -xf {ARCHIVE} -C {root})"
    )
