"""Cityscapes: 19 classes of street scenes, no background.

Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding" (CVPR 2016). The
official ``labelIds`` files number 34 kinds of regions, of which 19 are scored; the
``labelTrainIds`` files that mmsegmentation reads number just these. Both give the same labels.
"""

from __future__ import annotations

from ovbench.datasets.choosing.choices import Choices
from ovbench.datasets.names import read_vocabulary
from ovbench.datasets.reading.encoding import LabelEncoding
from ovbench.datasets.reading.files import FileDataset
from ovbench.datasets.reading.layouts import Layout, find
from ovbench.harness.contract.datasets import DatasetInfo
from ovbench.harness.contract.vocabulary import Kind

# Ids of the scored classes in label order: helpers/labels.py of the official scripts.
SCORED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
LAST_ID = 33
VOID = 255
# "hasInstances" of the same file.
NUM_STUFF = 11
EXPECTED_IMAGES = {"train": 2975, "val": 500}

ARCHIVES = "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip"
HOMES = ("", "cityscapes/")
HINT = (
    f"it should hold leftImg8bit and gtFine ({ARCHIVES}, behind the login of "
    "www.cityscapes-dataset.com)"
)


def open_cityscapes(choices: Choices) -> FileDataset:
    """Open Cityscapes' fine annotations; ids are ``<city>/<image>``.

    Args:
        choices: the root holds ``leftImg8bit`` and ``gtFine``. Splits are train and val.

    Raises:
        UsageError: files are not there, or there is no such split or background rule.
    """
    split = choices.split_of("cityscapes", EXPECTED_IMAGES)
    background = choices.no_background("cityscapes")
    kinds: list[Kind] = ["stuff"] * NUM_STUFF
    kinds += ["thing"] * (len(SCORED) - NUM_STUFF)
    vocabulary = read_vocabulary(
        "cityscapes", choices.names, num_classes=len(SCORED), background=False, kinds=kinds
    )
    found = find(
        "cityscapes", choices.folder("cityscapes", f"{ARCHIVES} unpacked"), _layouts(split), HINT
    )
    return FileDataset(
        DatasetInfo("cityscapes", split, background, VOID, EXPECTED_IMAGES[split]),
        vocabulary,
        found.ids,
        found.images,
        found.labels,
        train_id_encoding() if found.layout.converted else label_id_encoding(),
    )


def label_id_encoding() -> LabelEncoding:
    """Official ids: those of the scored classes to 0..18, every other one is not scored.

    The id -1 of licence plates is 255 in an 8-bit file.
    """
    rest = dict.fromkeys((*range(LAST_ID + 1), VOID), VOID)
    return LabelEncoding.of("cityscapes", rest | {v: label for label, v in enumerate(SCORED)})


def train_id_encoding() -> LabelEncoding:
    """Train ids, which are the vocabulary's labels."""
    return LabelEncoding.of("cityscapes", {VOID: VOID} | {v: v for v in range(len(SCORED))})


def _layouts(split: str) -> list[Layout]:
    """The official files first: they hold what the others were made from."""
    return [
        Layout(
            home,
            f"gtFine/{split}",
            (f"{home}leftImg8bit/{split}",),
            "_leftImg8bit.png",
            f"_gtFine_{kind}.png",
            converted=kind == "labelTrainIds",
        )
        for home in HOMES
        for kind in ("labelIds", "labelTrainIds")
    ]
