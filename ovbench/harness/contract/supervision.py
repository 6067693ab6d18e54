"""What weights were trained with, and which benchmarks that touches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

Labels: TypeAlias = Literal["images", "captions", "classes", "boxes", "outlines", "masks"]
"""What came with the pictures of a data set in training, the dearest last.

Images: nothing. Captions: words about the whole picture. Classes: its one class. Boxes: of things
with names. Outlines: masks that name nothing. Masks: those with names, such as label maps.
"""
LABELS: tuple[Labels, ...] = get_args(Labels)
GROUPS = ("nothing", *LABELS, "unknown")
"""What a method may be grouped by: the dearest labels, none, or that nobody says it."""

TRAINED_ON_MASKS = "trained on masks: not comparable with methods that never saw one"
"""What every result says that rests on masks with names."""

# The training images of which data sets are those of which registered benchmarks.
_BENCHMARKS: Mapping[str, tuple[str, ...]] = {
    "ADE20K": ("ade20k",),
    "Cityscapes": ("cityscapes",),
    "COCO": ("cocoobject", "cocostuff", "coco20i"),
    "FSS-1000": ("fss1000",),
    "PASCAL Context": ("context",),
    "PASCAL VOC": ("voc",),
}


@dataclass(frozen=True, slots=True)
class Training:
    """What one checkpoint was trained with, what it began from included.

    Attributes:
        data: by data set, the dearest labels that came with its pictures.
        source: where it says so.
    """

    data: Mapping[str, Labels]
    source: str


@dataclass(frozen=True, slots=True)
class Supervision:
    """What all weights of a method were trained with.

    Attributes:
        data: by data set, the dearest labels that came with its pictures.
        unknown: the checkpoints of which nobody says it.
    """

    data: Mapping[str, Labels]
    unknown: tuple[str, ...] = ()

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Supervision | None:
        """As a result records it; None in results of older versions and of miniatures."""
        found = result.get("trained")
        return None if found is None else cls(found["data"], tuple(found["unknown"]))

    def content(self) -> dict[str, Any]:
        """For a result, JSON-ready."""
        return {"data": dict(self.data), "unknown": list(self.unknown)}

    @property
    def dearest(self) -> str:
        """The one word to group by: what is not known may be dearer than what is."""
        if self.unknown:
            return "unknown"
        return max(self.data.values(), key=LABELS.index, default="nothing")

    @property
    def words(self) -> str:
        """Every kind of labels once, the dearest last."""
        kinds = sorted(set(self.data.values()), key=LABELS.index)
        return ", ".join([*kinds, *(["unknown"] if self.unknown else [])]) or "nothing"

    @property
    def mask_marks(self) -> list[str]:
        """What a table says of it where any of the weights saw masks, with or without names."""
        if "masks" in self.data.values():
            return [TRAINED_ON_MASKS]
        outlined = [name for name, labels in self.data.items() if labels == "outlines"]
        return [f"mask-supervised without names: {', '.join(outlined)}"] if outlined else []

    @property
    def benchmarks(self) -> list[str]:
        """The registered benchmarks of whose training images it saw some."""
        found = [one for name in self.data for one in _BENCHMARKS.get(name, ())]
        return sorted(dict.fromkeys(found))

    def seen(self, benchmark: str) -> Iterator[str]:
        """In words, what it saw of the training images of a registered benchmark."""
        for name, labels in self.data.items():
            if benchmark in _BENCHMARKS.get(name, ()):
                told = "without labels" if labels == "images" else f"with {labels}"
                yield f"images of {name}, {told}"


def joined(trainings: Iterable[Mapping[str, Labels]]) -> dict[str, Labels]:
    """Of several trainings: each data set once, with the dearest labels."""
    found: dict[str, Labels] = {}
    for data in trainings:
        for name, labels in data.items():
            found[name] = max(found.get(name, labels), labels, key=LABELS.index)
    return found
