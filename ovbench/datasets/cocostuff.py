"""COCO-Stuff 164k: 80 things and 91 kinds of stuff that label every pixel; no background.

Caesar, Uijlings and Ferrari, "COCO-Stuff: Thing and Stuff Classes in Context" (CVPR 2018).
A pixel of the official label files holds its category's id - 1, with gaps where COCO dropped
a category; mmsegmentation's converter closes the gaps. Both store 255 where nothing is labelled.
"""

from __future__ import annotations

from typing import Any

from ovbench.datasets.choosing.choices import Choices
from ovbench.datasets.names import read_vocabulary
from ovbench.datasets.reading.coco_places import HOMES, picture_folders
from ovbench.datasets.reading.encoding import LabelEncoding
from ovbench.datasets.reading.files import FileDataset
from ovbench.datasets.reading.layouts import Layout, find
from ovbench.harness.contract.datasets import DatasetInfo
from ovbench.harness.contract.vocabulary import Kind

NUM_THINGS, NUM_STUFF = 80, 91
NUM_CLASSES = NUM_THINGS + NUM_STUFF
VOID = 255
LAST_STORED = 181
# Ids - 1 of categories that COCO announced and never annotated.
UNUSED = frozenset({11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90})
USED = [value for value in range(LAST_STORED + 1) if value not in UNUSED]
"""Stored values in label order: 80 things, then 91 kinds of stuff."""
EXPECTED_IMAGES = {"val": 5000}

ARCHIVE = "stuffthingmaps_trainval2017.zip"

PART = "val2017"
# GroupViT's converter writes the first kind from the second, which is mmsegmentation's COCO-Stuff.
OBJECTS, STUFF = "_instanceTrainIds.png", "_labelTrainIds.png"


def official_layouts() -> list[Layout]:
    """Where the official label files may be: as unpacked, or as COCO-Stuff's own code has them."""
    unpacked = ("stuffthingmaps", "stuffthingmaps_trainval2017")
    return [
        *(_layout(home, f"{folder}/{PART}") for home in HOMES for folder in unpacked),
        _layout("", PART),  # both archives unpacked in one place: .jpg beside .png
    ]


def converted_layouts(label_suffix: str) -> list[Layout]:
    """mmsegmentation's tree, whose label files of several kinds differ in their suffix."""
    homes = ("coco_stuff164k/", *(home for home in HOMES if home != "coco_stuff164k/"))
    return [
        _layout(home, f"annotations/{PART}", label_suffix=label_suffix, converted=True)
        for home in homes
    ]


def annotation_layouts() -> list[Layout]:
    """The official files in "annotations": of COCO-Stuff's own code, CAT-Seg's, mmsegmentation's
    before its conversion; and CAT-Seg's conversion, which gives mmsegmentation's values.
    """
    raw = [_layout(home, f"annotations/{PART}", others=(OBJECTS, STUFF)) for home in HOMES]
    return [*raw, _layout("coco-stuff/", f"annotations_detectron2/{PART}", converted=True)]


def _layout(home: str, labels: str, **more: Any) -> Layout:
    return Layout(home, labels, picture_folders(PART, home), **more)


LAYOUTS = (*official_layouts(), *converted_layouts(STUFF), *annotation_layouts())
HINT = (
    f"it should hold val2017/*.jpg (val2017.zip) and stuffthingmaps/val2017/*.png "
    f"({ARCHIVE}); `ovbench datasets prepare cocostuff` fetches both"
)


def open_cocostuff(choices: Choices) -> FileDataset:
    """Open the validation images of COCO 2017 with COCO-Stuff's labels.

    Args:
        choices: the root holds ``val2017`` with the pictures and ``stuffthingmaps/val2017``
            with the label files; or one of the trees of :data:`LAYOUTS`.

    Raises:
        UsageError: files are not there, or there is no such split or background rule.
    """
    split = choices.split_of("cocostuff", EXPECTED_IMAGES)
    background = choices.no_background("cocostuff")
    kinds: list[Kind] = ["thing"] * NUM_THINGS
    kinds += ["stuff"] * NUM_STUFF
    vocabulary = read_vocabulary(
        "cocostuff", choices.names, num_classes=NUM_CLASSES, background=False, kinds=kinds
    )
    found = find("cocostuff", choices.folder("cocostuff", f"{ARCHIVE} unpacked"), LAYOUTS, HINT)
    return FileDataset(
        DatasetInfo("cocostuff", split, background, VOID, EXPECTED_IMAGES[split]),
        vocabulary,
        found.ids,
        found.images,
        found.labels,
        converted_encoding() if found.layout.converted else official_encoding(),
    )


def official_encoding() -> LabelEncoding:
    """Category ids - 1, without the unused ones: things to 0..79, stuff to 80..170."""
    labels = {value: label for label, value in enumerate(USED)}
    return LabelEncoding.of("cocostuff", {VOID: VOID, **labels})


def converted_encoding() -> LabelEncoding:
    """Labels as mmsegmentation's converter writes them, which are the vocabulary's."""
    labels = {label: label for label in range(NUM_CLASSES)}
    return LabelEncoding.of("cocostuff", {VOID: VOID, **labels})
