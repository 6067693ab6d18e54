"""COCO-Object: the 80 things of COCO 2017, and background, in the field's two constructions.

``stuffthingmaps``, of GroupViT and those who follow it: COCO-Stuff's label files with every stuff
class *and* void turned into background. Where objects overlap, these files show the one that
comes last in ``instances_val2017.json``.

``instances``, of PnP-OVSS's code: the masks of ``instances_val2017.json`` painted so that the one
that comes first shows, crowds included. It knows no void.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovbench.datasets.choosing.choices import Choices
from ovbench.datasets.cocostuff import (
    NUM_CLASSES,
    NUM_THINGS,
    OBJECTS,
    PART,
    STUFF,
    USED,
    VOID,
    annotation_layouts,
    converted_layouts,
    official_layouts,
)
from ovbench.datasets.names import read_vocabulary
from ovbench.datasets.reading.coco_instances import Instances
from ovbench.datasets.reading.coco_places import annotation_file, picture_folders
from ovbench.datasets.reading.encoding import LabelEncoding, background_encoding
from ovbench.datasets.reading.files import FileDataset, ImageFiles, Labels
from ovbench.datasets.reading.layouts import find, pictures, present
from ovbench.errors import DataError, UsageError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import BackgroundRule, DatasetInfo

EXPECTED_IMAGES = {"val": 5000}
INSTANCES = "instances_val2017.json"
LAYOUTS = (
    *official_layouts(),
    *converted_layouts(OBJECTS),
    *converted_layouts(STUFF),
    *annotation_layouts(),
)
HINT = (
    "it should hold val2017/*.jpg and stuffthingmaps/val2017/*.png, or annotations/"
    f"{INSTANCES}; "
    "`ovbench datasets prepare cocoobject` fetches them"
)


def open_cocoobject(choices: Choices) -> FileDataset:
    """Open the validation images of COCO 2017 with its things.

    Args:
        choices: the root holds what :data:`HINT` says; the variant is by default
            "stuffthingmaps" if its files are there, else "instances".

    Raises:
        UsageError: files are not there, or there is no such split, rule or variant.
    """
    split = choices.split_of("cocoobject", EXPECTED_IMAGES)
    background = choices.background_of("cocoobject")
    vocabulary = read_vocabulary(
        "cocoobject",
        choices.names,
        num_classes=NUM_THINGS,
        background=background == "class",
        kinds=["thing"] * NUM_THINGS,
    )
    root = choices.folder("cocoobject", "val2017 with its annotations")
    only_instances = annotation_file(root, INSTANCES).exists() and not present(root, LAYOUTS)
    default = "instances" if only_instances else "stuffthingmaps"
    variant = choices.variant_of("cocoobject", VARIANTS, default)
    return FileDataset(
        DatasetInfo("cocoobject", split, background, VOID, EXPECTED_IMAGES[split], variant=variant),
        vocabulary,
        *VARIANTS[variant](root, background),
    )


def map_encoding(
    things: Sequence[int], stuff: Sequence[int], rule: BackgroundRule
) -> LabelEncoding:
    """COCO-Stuff's values: things to 1..80, stuff and void to background.

    Args:
        things, stuff: stored values, things in label order.
        rule: "class" makes background label 0; "ignore" does not score it and moves the things
            to 0..79.
    """
    rest, first = (0, 1) if rule == "class" else (VOID, 0)
    labels = dict.fromkeys((*stuff, VOID), rest)
    labels |= {value: first + thing for thing, value in enumerate(things)}
    return LabelEncoding.of("cocoobject", labels)


@dataclass(frozen=True, slots=True)
class InstanceLabels:
    """Label maps painted from instances: 0 background, 1..80."""

    instances: Instances

    def source(self, image: str) -> Path:
        """The file of all of them."""
        return self.instances.path

    def stated_size(self, image: str) -> tuple[int, int]:
        """See :class:`~ovbench.datasets.reading.files.Labels`."""
        return self.instances.images[self._number(image)].size

    def read(self, image: str) -> LabelMap:
        """See :class:`~ovbench.datasets.reading.files.Labels`."""
        values = {category: 1 + i for i, category in enumerate(self.instances.categories)}
        return self.instances.paint(self._number(image), values)

    def _number(self, image: str) -> int:
        number = int(image) if image.isdecimal() else -1
        if number not in self.instances.images:
            raise DataError(f"{self.instances.path}: has no image {image}")
        return number


Parts = tuple[Sequence[str], ImageFiles, Labels, LabelEncoding]


def _from_maps(root: Path, background: BackgroundRule) -> Parts:
    found = find("cocoobject", root, LAYOUTS, HINT)
    if found.layout.label_suffix == OBJECTS:
        encoding = background_encoding("cocoobject", NUM_THINGS, background)
    else:
        values = range(NUM_CLASSES) if found.layout.converted else USED
        encoding = map_encoding(values[:NUM_THINGS], values[NUM_THINGS:], background)
    return found.ids, found.images, found.labels, encoding


def _from_instances(root: Path, background: BackgroundRule) -> Parts:
    instances = Instances(annotation_file(root, INSTANCES))
    if len(instances.categories) != NUM_THINGS:
        raise UsageError(f"{instances.path}: {len(instances.categories)} categories, not 80")
    images = pictures(root, picture_folders(PART), INSTANCES)
    ids = {Path(entry.file_name).stem for entry in instances.images.values()} | images.ids()
    encoding = background_encoding("cocoobject", NUM_THINGS, background)
    return sorted(ids), images, InstanceLabels(instances), encoding


VARIANTS: Mapping[str, Callable[[Path, BackgroundRule], Parts]] = {
    "stuffthingmaps": _from_maps,
    "instances": _from_instances,
}
