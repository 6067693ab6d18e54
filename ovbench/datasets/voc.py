"""PASCAL VOC 2012: 20 classes, with background as a class (VOC21) or left out (VOC20).

Label files are palette PNGs: 0 is background, 1 to 20 the classes, 255 the void rim between
objects, which is never scored.
"""

from __future__ import annotations

from pathlib import Path

from ovbench.datasets.files import FileDataset, label_table, read_id_list
from ovbench.datasets.names import read_vocabulary
from ovbench.errors import UsageError
from ovbench.harness.protocol import BackgroundRule, DatasetInfo

NUM_CLASSES = 20
VOID = 255
# ImageSets/Segmentation of VOCtrainval_11-May-2012.tar.
EXPECTED_IMAGES = {"train": 1464, "val": 1449, "trainval": 2913}


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
    split = split or "val"
    background = background or "class"
    if split not in EXPECTED_IMAGES:
        raise UsageError(f"voc has no split {split!r}; it has {', '.join(EXPECTED_IMAGES)}")
    if background not in ("class", "ignore"):
        raise UsageError(f"voc has a background: {background!r} is not 'class' or 'ignore'")
    home = _find(root)
    return FileDataset(
        DatasetInfo("voc", split, background, VOID, EXPECTED_IMAGES[split]),
        read_vocabulary("voc", names, num_classes=NUM_CLASSES, background=background == "class"),
        read_id_list(home / "ImageSets" / "Segmentation" / f"{split}.txt"),
        home / "JPEGImages",
        home / "SegmentationClass",
        label_table(_labels(background)),
    )


def _labels(background: BackgroundRule) -> dict[int, int]:
    if background == "class":
        return {**{v: v for v in range(NUM_CLASSES + 1)}, VOID: VOID}
    return {0: VOID, **{v: v - 1 for v in range(1, NUM_CLASSES + 1)}, VOID: VOID}


def _find(root: Path | None) -> Path:
    wanted = "VOCdevkit/VOC2012/SegmentationClass (from VOCtrainval_11-May-2012.tar)"
    if root is None:
        raise UsageError(f"voc needs --root DIR or OVBENCH_DATA: the folder that holds {wanted}")
    for home in (root / "VOCdevkit" / "VOC2012", root / "VOC2012", root):
        if (home / "SegmentationClass").is_dir():
            return home
    raise UsageError(f"{root}: voc is not here; unpack the archive so that it holds {wanted}")
