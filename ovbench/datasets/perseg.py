"""PerSeg: 40 objects, each shown by its first picture and looked for in the others.

Zhang et al., "Personalize Segment Anything Model with One Shot" (ICLR 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ovbench.datasets.choosing.choices import Choices
from ovbench.datasets.names import read_vocabulary
from ovbench.datasets.prompting.episodes import Episode, EpisodeDataset, Mask, episode_info
from ovbench.datasets.reading.files import utf8
from ovbench.datasets.reading.layouts import not_here
from ovbench.errors import UsageError
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.harness.files.images import read_image

REFERENCE = "00"
LAYOUT = "PerSeg/Images/<object>/NN.jpg and PerSeg/Annotations/<object>/NN.png"


@dataclass(frozen=True, slots=True)
class ObjectPictures:
    """Pictures ``<object>/NN``; whatever is not black in a mask is the object (as in the code)."""

    home: Path

    def file(self, name: str) -> Path:
        """See :class:`~ovbench.datasets.prompting.episodes.Pictures`."""
        return self.home / "Images" / f"{name}.jpg"

    def mask(self, name: str, label: int) -> Mask:
        """See :class:`~ovbench.datasets.prompting.episodes.Pictures`."""
        picture = read_image(self.home / "Annotations" / f"{name}.png")
        mask: Mask = np.greater(picture.max(axis=-1), 0)
        return mask


def open_perseg(choices: Choices) -> EpisodeDataset:
    """Open PerSeg. Objects are called by their folders' names, unless others are given.

    Args:
        choices: the root holds ``PerSeg``, or is that folder.

    Raises:
        UsageError: files are not there, or an object has no picture but its reference.
    """
    split = choices.split_of("perseg", ["test"], default="test")
    home = _find(choices.folder("perseg", LAYOUT))
    folders = [utf8(home, p.name) for p in (home / "Images").iterdir() if p.is_dir()]
    objects = sorted(name for name in folders if name[0] != ".")
    if not objects:
        raise UsageError(f"{home / 'Images'}: holds no objects; it should hold {LAYOUT}")
    episodes = [e for label, name in enumerate(objects, 1) for e in _episodes(home, name, label)]
    info = episode_info(choices, "perseg", split, len(objects), None)
    return EpisodeDataset(info, _vocabulary(choices, objects), episodes, ObjectPictures(home))


def _find(root: Path) -> Path:
    for home in (root / "PerSeg", root):
        if (home / "Images").is_dir() and (home / "Annotations").is_dir():
            return home
    hint = f"it should hold {LAYOUT} (`ovbench datasets prepare perseg` says where they are)"
    raise not_here("perseg", root, ["PerSeg/Images", "Images and Annotations"], hint)


def _episodes(home: Path, name: str, label: int) -> list[Episode]:
    folder = home / "Images" / name
    pictures = sorted(utf8(folder, path.stem) for path in folder.glob("*.jpg"))
    queries = [picture for picture in pictures if picture != REFERENCE]
    if not queries:
        raise UsageError(f"{folder}: no pictures beside the reference")
    return [Episode(f"{name}/{q}", f"{name}/{q}", f"{name}/{REFERENCE}", label) for q in queries]


def _vocabulary(choices: Choices, objects: Sequence[str]) -> Vocabulary:
    if choices.names is not None:
        return read_vocabulary("perseg", choices.names, num_classes=len(objects), background=True)
    classes = tuple(ClassQuery(name.replace("_", " "), kind="thing") for name in objects)
    return Vocabulary(classes, Background(), "perseg/folders")
