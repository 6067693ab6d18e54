"""ADE20K-150: the scene-parsing benchmark with 150 classes of things and stuff, no background.

Zhou et al., "Scene Parsing through ADE20K Dataset" (CVPR 2017). A pixel of a label file is 0
where nothing is labelled ("other"), else 1 to 150; the 0 is never scored.
"""

from __future__ import annotations

from ovbench.datasets.choosing.choices import Choices
from ovbench.datasets.names import read_vocabulary
from ovbench.datasets.reading.encoding import background_encoding
from ovbench.datasets.reading.files import FileDataset
from ovbench.datasets.reading.layouts import Layout, find
from ovbench.harness.contract.datasets import DatasetInfo
from ovbench.harness.contract.vocabulary import Kind

NUM_CLASSES = 150
# Labels of the classes that objectInfo150.csv of the benchmark calls stuff.
STUFF = frozenset(
    {
        *(0, 1, 2, 3, 5, 6, 9, 11, 13, 16, 21, 25, 26, 28, 29, 46, 48, 51, 52, 54, 59, 60, 61),
        *(68, 79, 84, 91, 94, 96, 101, 105, 109, 113, 128, 140),
    }
)
EXPECTED_IMAGES = {"train": 20210, "val": 2000}
FOLDERS = {"train": "training", "val": "validation"}

ARCHIVE = "ADEChallengeData2016.zip"
# mmsegmentation keeps the archive below "ade" and does not convert it.
HOMES = ("ADEChallengeData2016/", "ade/ADEChallengeData2016/", "")
HINT = (
    f"it should hold ADEChallengeData2016/images and annotations ({ARCHIVE}); "
    "`ovbench datasets prepare ade20k` fetches it"
)


def open_ade20k(choices: Choices) -> FileDataset:
    """Open ADE20K in its official layout.

    Args:
        choices: the root holds ``ADEChallengeData2016``, or is that folder. Splits are train
            and val.

    Raises:
        UsageError: files are not there, or there is no such split or background rule.
    """
    split = choices.split_of("ade20k", EXPECTED_IMAGES)
    background = choices.no_background("ade20k")
    kinds: list[Kind] = ["stuff" if label in STUFF else "thing" for label in range(NUM_CLASSES)]
    vocabulary = read_vocabulary(
        "ade20k", choices.names, num_classes=NUM_CLASSES, background=False, kinds=kinds
    )
    part = FOLDERS[split]
    layouts = [Layout(home, f"annotations/{part}", (f"{home}images/{part}",)) for home in HOMES]
    found = find("ade20k", choices.folder("ade20k", f"{ARCHIVE} unpacked"), layouts, HINT)
    return FileDataset(
        DatasetInfo("ade20k", split, background, expected_images=EXPECTED_IMAGES[split]),
        vocabulary,
        found.ids,
        found.images,
        found.labels,
        background_encoding("ade20k", NUM_CLASSES, background),
    )
