"""COCO-Stuff 164k: 80 things and 91 kinds of stuff that label every pixel; no background.

Caesar, Uijlings and Ferrari, "COCO-Stuff: Thing and Stuff Classes in Context" (CVPR 2018).
A pixel of the official label files holds its category's id - 1, with gaps where COCO dropped
a category; mmsegmentation's converter closes the gaps. Both store 255 where nothing is labelled.
"""

from __future__ import annotations

from ovbench.datasets.choices import Choices
from ovbench.datasets.encoding import LabelEncoding
from ovbench.datasets.files import FileDataset
from ovbench.datasets.layouts import Layout, find
from ovbench.datasets.names import read_vocabulary
from ovbench.harness.protocol import DatasetInfo, Kind

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

OFFICIAL_LAYOUTS = (
    Layout("val2017", "stuffthingmaps/val2017"),
    Layout("val2017", "stuffthingmaps_trainval2017/val2017"),
    Layout("val2017", "val2017"),  # both archives unpacked in one place: .jpg beside .png
)


def converted_layouts(label_suffix: str) -> list[Layout]:
    """mmsegmentation's tree, whose label files of several kinds differ in their suffix."""
    return [
        Layout(f"{home}images/val2017", f"{home}annotations/val2017", ".jpg", label_suffix, True)
        for home in ("coco_stuff164k/", "")
    ]


LAYOUTS = (*OFFICIAL_LAYOUTS, *converted_layouts("_labelTrainIds.png"))
HINT = (
    f"it should hold val2017/*.jpg (val2017.zip) and stuffthingmaps/val2017/*.png "
    f"({ARCHIVE}); `ovbench datasets prepare cocostuff` fetches both"
)


def open_cocostuff(choices: Choices) -> FileDataset:
    """Open the validation images of COCO 2017 with COCO-Stuff's labels.

    Args:
        choices: the root holds ``val2017`` with the pictures and ``stuffthingmaps/val2017``
            with the label files; or mmsegmentation's ``coco_stuff164k``. See :data:`LAYOUTS`.

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
