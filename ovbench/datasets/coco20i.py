"""COCO-20i: four folds of 20 of COCO's classes, 1,000 episodes each, on COCO 2014's val images.

The folds are those of Nguyen and Todorovic (ICCV 2019) and later work; the episodes are drawn in
the order of HSNet's evaluation (data/coco.py of its code, seed 0). Which images of a class may be
drawn comes from one of two places:

- ``hsnet``: its lists ``splits/coco/val/fold<i>.pkl`` with its label files in
  ``COCO2014/annotations``. The episodes are then HSNet's own.
- ``instances``: COCO's ``instances_val2014.json``. An image may be drawn for a class that has at
  least 2 x 32 x 32 pixels in it, the rule of PFENet's code. HSNet does not say how its lists were
  made, so these episodes may be others than its own.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np

from ovbench.datasets.choosing.choices import Choices
from ovbench.datasets.names import read_vocabulary
from ovbench.datasets.prompting.episodes import (
    Episode,
    EpisodeDataset,
    Mask,
    Pictures,
    episode_info,
)
from ovbench.datasets.reading.coco_instances import Instances
from ovbench.datasets.reading.coco_places import HOMES, annotation_file, picture_folders
from ovbench.datasets.reading.layouts import not_here, pictures
from ovbench.errors import UsageError
from ovbench.harness.files.below import leads_outside
from ovbench.harness.files.images import read_label
from ovbench.harness.files.regular import regular

NUM_CLASSES, FOLDS, EPISODES, SEED = 80, 4, 1000, 0
MIN_PIXELS = 2 * 32 * 32
INSTANCES, PART = "instances_val2014.json", "val2014"
HSNET = "COCO2014/annotations"

Candidates = Mapping[int, Sequence[str]]
"""Pictures that show a class, by its 0-based position among the 80."""


def open_coco20i(choices: Choices) -> EpisodeDataset:
    """Open one fold.

    Args:
        choices: the root holds ``val2014`` with COCO's annotations, or what HSNet's code reads.
            Splits are fold0 (default) to fold3. The variant is by default "hsnet" if its lists
            are there.

    Raises:
        UsageError: files are not there, or a class has fewer than two pictures.
    """
    folds = [f"fold{i}" for i in range(FOLDS)]
    split = choices.split_of("coco20i", folds, default=folds[0])
    fold = folds.index(split)
    root = choices.folder("coco20i", f"{PART} with annotations/{INSTANCES}")
    default = "hsnet" if _list_of(root, fold).exists() else "instances"
    variant = choices.variant_of("coco20i", ("hsnet", "instances"), default)
    classes = range(fold, NUM_CLASSES, FOLDS)
    whole = read_vocabulary(
        "coco20i", choices.names, num_classes=NUM_CLASSES, background=True,
        kinds=["thing"] * NUM_CLASSES,
    )  # fmt: skip
    vocabulary = replace(whole, classes=tuple(whole.classes[c] for c in classes))
    build = _from_hsnet if variant == "hsnet" else _from_instances
    candidates, supply = build(root, fold, classes)
    for label, number in enumerate(classes, start=1):
        if len(candidates.get(number, ())) < 2:
            name = vocabulary.names[label]
            raise UsageError(f"{root}: coco20i needs at least two pictures of {name}")
    info = episode_info(choices, "coco20i", split, len(classes), EPISODES, variant)
    return EpisodeDataset(info, vocabulary, list(draw(classes, candidates)), supply)


def draw(classes: Sequence[int], candidates: Candidates) -> Iterator[Episode]:
    """The episodes: a class, then a query, then supports until one is another picture."""
    rng = np.random.RandomState(SEED)

    def one_of(count: int) -> int:
        return int(rng.choice(count, 1, replace=False)[0])

    for number in range(EPISODES):
        position = one_of(len(classes))
        names = candidates[classes[position]]
        query = support = names[one_of(len(names))]
        while support == query:
            support = names[one_of(len(names))]
        yield Episode(f"{number:04d}-{Path(query).stem}", query, support, position + 1)


@dataclass(frozen=True, slots=True)
class HSNetPictures:
    """Names such as ``val2014/COCO_val2014_000000000042.jpg``; files hold class numbers + 1."""

    home: Path
    classes: Sequence[int]

    def file(self, name: str) -> Path:
        """See :class:`~ovbench.datasets.prompting.episodes.Pictures`."""
        return self.home / name

    def mask(self, name: str, label: int) -> Mask:
        """See :class:`~ovbench.datasets.prompting.episodes.Pictures`."""
        stored = read_label((self.home / "annotations" / name).with_suffix(".png"))
        mask: Mask = stored == self.classes[label - 1] + 1
        return mask


class InstancePictures:
    """COCO's own pictures; a class is where any of its objects is, crowds among them."""

    def __init__(self, folder: Path, instances: Instances, classes: Sequence[int]) -> None:
        self._folder, self._instances, self._classes = folder, instances, classes
        self._ids = {entry.file_name: number for number, entry in instances.images.items()}

    def file(self, name: str) -> Path:
        """See :class:`~ovbench.datasets.prompting.episodes.Pictures`."""
        return self._folder / name

    def mask(self, name: str, label: int) -> Mask:
        """See :class:`~ovbench.datasets.prompting.episodes.Pictures`."""
        number = self._ids[name]
        category = self._instances.categories[self._classes[label - 1]]
        objects = (a for a in self._instances.annotations(number) if a.category == category)
        return self._instances.union(objects, self._instances.images[number])

    def candidates(self) -> Candidates:
        """The pictures of every class, by name."""
        numbers = {category: c for c, category in enumerate(self._instances.categories)}
        found: dict[int, list[str]] = {number: [] for number in self._classes}
        for name, image in sorted(self._ids.items()):
            areas: dict[int, float] = {}
            for one in self._instances.annotations(image):
                number = numbers[one.category]
                areas[number] = areas.get(number, 0) + one.area
            for number, area in areas.items():
                if number in found and area >= MIN_PIXELS:
                    found[number].append(name)
        return found


def read_lists(path: Path) -> Candidates:
    """HSNet's lists: a pickle of a dictionary of lists of names.

    Raises:
        UsageError: missing, or it holds anything else; nothing in it is executed.
    """
    try:
        with regular(path).open("rb") as file:
            content = _PlainUnpickler(file).load()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # a broken pickle may raise anything
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise UsageError(f"{path}: not HSNet's lists ({reason})") from None
    if not isinstance(content, dict) or not all(
        isinstance(key, int) and isinstance(names, list) for key, names in content.items()
    ):
        raise UsageError(f"{path}: not HSNet's lists (a dictionary of lists)")
    for key, names in content.items():
        strange = [n for n in names if not isinstance(n, str) or leads_outside(n)]
        if strange:
            raise UsageError(f"{path}: {str(strange[0])[:80]!r} of class {key} is no picture below")
        if len(set(names)) < len(names):
            raise UsageError(f"{path}: a picture of class {key} is listed more than once")
    return content


class _PlainUnpickler(pickle.Unpickler):
    """Reads containers, numbers and text, which need no class and no function."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it refers to {module}.{name}")


def _list_of(root: Path, fold: int) -> Path:
    return root / "splits" / "coco" / "val" / f"fold{fold}.pkl"


def _from_hsnet(root: Path, fold: int, classes: Sequence[int]) -> tuple[Candidates, Pictures]:
    if not (root / HSNET).is_dir():
        raise UsageError(f"{root / HSNET}: no such folder, but HSNet's lists need its label files")
    return read_lists(_list_of(root, fold)), HSNetPictures(root / "COCO2014", classes)


def _from_instances(root: Path, fold: int, classes: Sequence[int]) -> tuple[Candidates, Pictures]:
    path = annotation_file(root, INSTANCES)
    if not path.is_file():
        names = (f"splits/coco/val/fold{fold}.pkl", f"annotations/{INSTANCES}")
        hint = (
            f"it should hold {PART}/*.jpg and annotations/{INSTANCES} (`ovbench datasets prepare "
            "coco20i` fetches them), or HSNet's lists and label files"
        )
        raise not_here("coco20i", root, names, hint, homes=HOMES)
    instances = Instances(path)
    if len(instances.categories) != NUM_CLASSES:
        raise UsageError(f"{path}: {len(instances.categories)} categories, not 80")
    folder = pictures(root, picture_folders(PART), INSTANCES).folder
    found = InstancePictures(folder, instances, classes)
    return found.candidates(), found
