"""Pictures that show the classes of a dataset, for methods that are prompted by image.

They come from a user's folder or are drawn from another split of the dataset::

    prompts/
      cat/           cat1.jpg  cat1_mask.png  cat2.png
      potted_plant/  a.jpg

A folder is named as its class, with ``_`` for blanks and slashes. Whatever is not black in
``<stem>_mask.png`` is the object in the picture ``<stem>``; the mask may be missing.

A folder also takes the place of the supports that an image-prompted benchmark draws.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ovbench.datasets.prompting.episodes import EpisodeDataset
from ovbench.datasets.reading.files import turned, walk
from ovbench.errors import DataError, UsageError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import Dataset, DatasetInfo, PromptSource, Sample
from ovbench.harness.contract.vocabulary import Exemplar, Vocabulary
from ovbench.harness.files.below import leads_outside
from ovbench.harness.files.home import at_home
from ovbench.harness.files.images import read_image, read_mask

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MASK = "_mask"

MIN_SHARE = 0.01
"""Of a picture's pixels, which a class must fill to be well shown (our choice)."""

PICTURES = 1000
"""After so many a class that is only ever seen beside others is taken as it is (our choice)."""

Opener = Callable[[str], Dataset]
"""Opens another split of a dataset."""


@dataclass(frozen=True, eq=False)
class ShownDataset:
    """A dataset whose classes are shown by exemplars."""

    info: DatasetInfo
    vocabulary: Vocabulary
    base: Dataset

    @property
    def ids(self) -> Sequence[str]:
        """See :class:`~ovbench.Dataset`."""
        return self.base.ids

    def load(self, index: int) -> Sample:
        """See :class:`~ovbench.Dataset`."""
        return self.base.load(index)

    def decode(self, raw: LabelMap, source: Path) -> LabelMap:
        """See :class:`~ovbench.Dataset`."""
        return self.base.decode(raw, source)


def show_classes(
    dataset: Dataset, prompts: str, *, shots: int | None, seed: int, open_split: Opener
) -> Dataset:
    """The dataset with exemplars in its vocabulary.

    Args:
        prompts: a folder, or the name of a split to draw from.
        shots: exemplars to draw for each class, by default one.
        seed: of the draw.
        open_split: opens the split, with the dataset's vocabulary.

    Raises:
        UsageError: a class is not shown, or the dataset's own prompts cannot be replaced so.
    """
    info, vocabulary = dataset.info, dataset.vocabulary
    folder = at_home(prompts)
    if folder.is_dir() and shots is not None:
        raise UsageError("--shots goes with --prompts SPLIT; of a folder all pictures are used")
    if info.prompted:
        return _show_episodes(dataset, folder)
    if folder.is_dir():
        names, asked = _read_folder(folder, vocabulary)
        source = PromptSource(folder.resolve().name, None, names)
        return ShownDataset(replace(info, prompts=source), asked, dataset)
    supply = _open(prompts, info, open_split)
    count = 1 if shots is None else shots
    chosen = draw(supply, count, seed, frozenset(dataset.ids))
    names = tuple(tuple(supply.ids[i] for i in places) for places in chosen)
    asked = _shown(vocabulary, _exemplars(supply, chosen))
    return ShownDataset(replace(info, prompts=PromptSource(prompts, count, names)), asked, dataset)


def _show_episodes(dataset: Dataset, folder: Path) -> Dataset:
    """Episodes asked by the pictures of a folder, without those that ask for one of these."""
    info, vocabulary = dataset.info, dataset.vocabulary
    if not isinstance(dataset, EpisodeDataset):
        raise UsageError(
            f"{info.name} shows each image's class by a picture of its own; leave --prompts out"
        )
    if not folder.is_dir():
        raise UsageError(
            f"--prompts {folder}: no such folder; {info.name} has no other split with its classes"
        )
    names, shown = _read_folder(folder, vocabulary)
    files = [
        _home(folder, query.name) / picture
        for query, pictures in zip(vocabulary.classes, names, strict=True)
        for picture in pictures
    ]
    left_out = tuple(dataset.asking(files))
    if alone := dataset.asked_labels() - dataset.asked_labels(left_out):
        raise UsageError(
            f"--prompts {folder}: every image of {vocabulary.names[min(alone)]!r} in {info.name} "
            f"{info.split} is among its pictures, and none is left to measure; show it by fewer"
        )
    return dataset.shown_by(
        shown, PromptSource(folder.resolve().name, None, names, left_out), left_out
    )


def _read_folder(
    folder: Path, vocabulary: Vocabulary
) -> tuple[tuple[tuple[str, ...], ...], Vocabulary]:
    """The names of the pictures of each class, and the vocabulary that they show."""
    found = [read_class(folder, query.name) for query in vocabulary.classes]
    return tuple(names for names, _ in found), _shown(vocabulary, [shown for _, shown in found])


def _shown(vocabulary: Vocabulary, exemplars: Iterable[tuple[Exemplar, ...]]) -> Vocabulary:
    classes = zip(vocabulary.classes, exemplars, strict=True)
    return replace(vocabulary, classes=tuple(replace(q, exemplars=shown) for q, shown in classes))


def show_names(vocabulary: Vocabulary, folder: Path) -> Vocabulary:
    """The vocabulary with the exemplars of a folder.

    Raises:
        UsageError: no such folder, or a class is not shown in it.
    """
    if not folder.is_dir():
        raise UsageError(f"--prompts {folder}: no such folder")
    return _read_folder(folder, vocabulary)[1]


def read_class(folder: Path, name: str) -> tuple[tuple[str, ...], tuple[Exemplar, ...]]:
    """The pictures of one class, in order of their names.

    Returns:
        The names of their files, and what they show.

    Raises:
        UsageError: there are none, or one is unreadable or does not fit its mask.
    """
    home = _home(folder, name)
    _, files = next(walk(home))
    images = sorted(f for f in files if f.lower().endswith(SUFFIXES))
    masks = _masks(images, home)
    pictures = [file for file in images if file not in masks.values()]
    if not pictures:
        raise UsageError(f"{home}: no pictures of the class {name!r} here ({', '.join(SUFFIXES)})")
    if alone := masks.keys() - {Path(picture).stem for picture in pictures}:
        raise UsageError(f"{home / masks[min(alone)]}: a mask without its picture")
    return tuple(pictures), tuple(_read(home, p, masks.get(Path(p).stem)) for p in pictures)


def _home(folder: Path, name: str) -> Path:
    """The folder of a class."""
    plain = name.replace(" ", "_").replace("/", "_")
    homes = [folder / spelt for spelt in (name, plain) if not leads_outside(spelt)]
    for home in homes:
        if home.is_dir():
            return home
    raise UsageError(f"--prompts {folder}: no folder {plain!r} with pictures of the class {name!r}")


def _masks(images: Sequence[str], home: Path) -> dict[str, str]:
    """The file of the mask that belongs to the picture of a stem, in any spelling of its end.

    A photograph may well be called ``gas_mask.jpg``: only beside a picture is it a mask, which
    is then refused for its format.
    """
    stems = {Path(file).stem for file in images}
    masks: dict[str, str] = {}
    for file in images:
        stem, end = Path(file).stem[: -len(MASK)], Path(file).stem[-len(MASK) :]
        if end.lower() != MASK or not (file.lower().endswith(".png") or stem in stems):
            continue
        if masks.setdefault(stem, file) != file:
            raise UsageError(f"{home / file}: {masks[stem]} is a mask of the same picture")
    return masks


def _read(home: Path, picture: str, drawn: str | None) -> Exemplar:
    image = read_image(home / picture)
    if drawn is None:
        return Exemplar(image)
    file = home / drawn
    mask = read_mask(file)
    if mask.shape != image.shape[:2]:
        raise DataError(
            f"{file}: {mask.shape[1]}x{mask.shape[0]} pixels, but its picture has "
            f"{image.shape[1]}x{image.shape[0]}{turned(home / picture, mask.shape)}"
        )
    if not mask.any():
        raise DataError(f"{file}: shows nothing; it should be white where the object is")
    return Exemplar(image, mask)


def draw(
    supply: Dataset, shots: int, seed: int, evaluated: Collection[str]
) -> list[tuple[int, ...]]:
    """Which pictures of a split show which class.

    Pictures are looked at in an order that the seed decides. First come those that a class
    fills by :data:`MIN_SHARE` and where no other thing is, then those with other things, then
    those with less of the class, the largest first.

    Args:
        evaluated: ids of pictures that must not be taken.

    Returns:
        For each class of the vocabulary ``shots`` places in ``supply.ids``.

    Raises:
        UsageError: a class is seen in too few pictures, or none are asked for.
    """
    if shots < 1:
        raise UsageError(f"--shots {shots}: must be at least 1")
    vocabulary, split = supply.vocabulary, f"{supply.info.name} {supply.info.split}"
    order = np.random.default_rng(seed).permutation(len(supply.ids))
    places = [int(i) for i in order if supply.ids[i] not in evaluated]
    if not places:
        raise UsageError(f"--prompts: every image of {split} is evaluated; draw from another split")
    seen: list[list[tuple[int, int, int, int]]] = [[] for _ in vocabulary.classes]
    for number, place in enumerate(places):
        for position, rank, size in _ranks(supply.load(place), vocabulary):
            seen[position].append((rank, -size, number, place))
        enough = 0 if number < PICTURES else 1
        if all(sum(rank <= enough for rank, *_ in found) >= shots for found in seen):
            break
    for query, found in zip(vocabulary.classes, seen, strict=True):
        if len(found) < shots:
            raise UsageError(
                f"--shots {shots}: {split} shows {query.name!r} in {len(found)} pictures only"
            )
    return [tuple(place for *_, place in sorted(found)[:shots]) for found in seen]


def _ranks(sample: Sample, vocabulary: Vocabulary) -> Iterator[tuple[int, int, int]]:
    """Position, rank and, where it decides, pixels of every class that a sample shows."""
    pixels = np.bincount(sample.label.ravel(), minlength=len(vocabulary))[vocabulary.offset :]
    large = pixels >= MIN_SHARE * sample.label.size
    things = {i for i, query in enumerate(vocabulary.classes) if query.kind != "stuff" and large[i]}
    for position, count in enumerate(pixels[: len(vocabulary.classes)].tolist()):
        if not count:
            continue
        if not large[position]:
            yield position, 2, count
        else:
            yield position, int(bool(things - {position})), 0


def _exemplars(supply: Dataset, chosen: Sequence[Sequence[int]]) -> Iterator[tuple[Exemplar, ...]]:
    for label, places in enumerate(chosen, start=supply.vocabulary.offset):
        samples = [supply.load(place) for place in places]
        yield tuple(Exemplar(sample.image, sample.label == label) for sample in samples)


def _open(split: str, info: DatasetInfo, open_split: Opener) -> Dataset:
    try:
        return open_split(split)
    except UsageError as error:
        raise UsageError(
            f"--prompts {split}: no such folder, and no split of {info.name} either ({error})"
        ) from None
