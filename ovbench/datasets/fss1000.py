"""FSS-1000: 240 test classes of ten pictures, each looked for by another one of its class.

Li et al., "FSS-1000: A 1000-Class Dataset for Few-Shot Segmentation" (CVPR 2020), with the test
classes and the order of draws of HSNet's evaluation (data/fss.py of its code, seed 0).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from ovbench.datasets.choosing.choices import Choices
from ovbench.datasets.names import read_vocabulary
from ovbench.datasets.prompting.episodes import Episode, EpisodeDataset, Mask, episode_info
from ovbench.datasets.reading.layouts import not_here
from ovbench.errors import UsageError
from ovbench.harness.files.images import read_image

NUM_CLASSES, PICTURES = 240, 10
EXPECTED_EPISODES = NUM_CLASSES * PICTURES
SEED = 0
HOMES = ("FSS-1000", "fewshot_data/fewshot_data", "fewshot_data", ".")
LAYOUT = "fewshot_data/<class>/1.jpg, 1.png … 10.png"


@dataclass(frozen=True, slots=True)
class ClassPictures:
    """Pictures ``<class>/N`` with a mask each.

    Masks hold 0 and 255, and what is at least 128 as grey is the object (HSNet); some
    copies hold 0 and 1 instead.
    """

    home: Path

    def file(self, name: str) -> Path:
        """See :class:`~ovbench.datasets.prompting.episodes.Pictures`."""
        return self.home / f"{name}.jpg"

    def mask(self, name: str, label: int) -> Mask:
        """See :class:`~ovbench.datasets.prompting.episodes.Pictures`."""
        picture = read_image(self.home / f"{name}.png")
        values = np.asarray(Pillow.fromarray(picture).convert("L"))
        mask: Mask = np.greater_equal(values, 128 if values.max(initial=0) > 1 else 1)
        return mask


def open_fss1000(choices: Choices) -> EpisodeDataset:
    """Open FSS-1000's test classes: every picture is a query once.

    Args:
        choices: the root holds ``fewshot_data`` or ``FSS-1000`` with the classes' folders.

    Raises:
        UsageError: a class is not there.
    """
    split = choices.split_of("fss1000", ["test"], default="test")
    vocabulary = read_vocabulary(
        "fss1000", choices.names, num_classes=NUM_CLASSES, background=True,
        kinds=["thing"] * NUM_CLASSES,
    )  # fmt: skip
    home, folders = _find(choices.folder("fss1000", LAYOUT))
    info = episode_info(choices, "fss1000", split, NUM_CLASSES, EXPECTED_EPISODES)
    return EpisodeDataset(info, vocabulary, list(draw(folders)), ClassPictures(home))


def draw(folders: Sequence[str]) -> Iterator[Episode]:
    """The episodes of all classes, in HSNet's order and with the supports that it draws."""
    rng = np.random.RandomState(SEED)
    # HSNet sorts paths as text: 1, 10, 2, …
    for label, folder in enumerate(folders, start=1):
        for query in sorted(map(str, range(1, PICTURES + 1))):
            support = query
            while support == query:
                support = str(rng.choice(range(1, PICTURES + 1), 1, replace=False)[0])
            name = f"{folder}/{query}"
            yield Episode(name, name, f"{folder}/{support}", label)


def class_folders() -> list[str]:
    """The folders of the test classes, sorted; the packaged names are these with blanks."""
    plain = read_vocabulary("fss1000", "plain", num_classes=NUM_CLASSES, background=False)
    return [name.replace(" ", "_") for name in plain.names]


def _find(root: Path) -> tuple[Path, list[str]]:
    folders = class_folders()
    for home in (root / part for part in HOMES):
        missing = [name for name in folders if not (home / name).is_dir()]
        if len(missing) < NUM_CLASSES:
            if missing:
                raise UsageError(
                    f"{home / missing[0]}: no such folder; {len(missing)} of the {NUM_CLASSES} "
                    "test classes are not here"
                )
            return home, folders
    hint = f"it should hold {LAYOUT} (`ovbench datasets prepare fss1000` says where they are)"
    raise not_here("fss1000", root, [f"{home}/{folders[0]}" for home in HOMES], hint)
