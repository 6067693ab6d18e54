"""Parts of a benchmark's classes that papers measure alone: those "unseen" in training.

Papers do not say whether a method is asked for every class or for these alone. Both readings are
here: ``unseen5`` asks for all names and averages over the five, ``unseen5-only`` asks for the
five and does not score the pixels of the other classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovbench.datasets.names import read_vocabulary
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import Dataset, DatasetInfo, Sample
from ovbench.harness.contract.vocabulary import Vocabulary

ONLY = "-only"
"""Ends the name of a subset whose names alone are asked for."""

SUBSETS: Mapping[str, Mapping[str, Sequence[str]]] = {
    # IPSeg (Table 2) and PnP-OVSS (Table 4) name the same five.
    "voc": {"unseen5": ("pottedplant", "sheep", "sofa", "train", "tvmonitor")},
    "context": {
        # ViL-Seg's, as IPSeg's Table 2 has it.
        "unseen4": ("cow", "motorbike", "sofa", "cat"),
        # MaskCLIP's zero-shot configuration (its code, configs/_base_/datasets).
        "unseen10": (
            *("cow", "motorbike", "sofa", "cat", "boat", "fence", "bird", "tvmonitor"),
            *("keyboard", "aeroplane"),
        ),
    },
    "cocostuff": {
        "unseen15": (
            *("cow", "giraffe", "suitcase", "frisbee", "skateboard", "carrot", "scissors"),
            *("cardboard", "clouds", "grass", "playingfield", "river", "road", "tree"),
            "wall-concrete",
        )
    },
}
"""By benchmark and name: the classes, spelt as in the benchmark's set "plain"."""


@dataclass(frozen=True, eq=False)
class SubsetDataset:
    """A dataset of which some classes are measured alone.

    Attributes:
        base: the whole.
        table: ``(256,)`` uint8, from its labels to those of this dataset's vocabulary.
    """

    info: DatasetInfo
    vocabulary: Vocabulary
    ids: Sequence[str]
    base: Dataset
    table: npt.NDArray[np.uint8]

    def load(self, index: int) -> Sample:
        """See :class:`~ovbench.Dataset`."""
        sample = self.base.load(index)
        return replace(sample, label=self.table[sample.label])

    def decode(self, raw: LabelMap, source: Path) -> LabelMap:
        """See :class:`~ovbench.Dataset`."""
        return self.table[self.base.decode(raw, source)]


def measure_alone(dataset: Dataset, subset: str) -> SubsetDataset:
    """The dataset with only a subset of its classes scored.

    Args:
        subset: a name of :data:`SUBSETS`, with or without :data:`ONLY`.

    Raises:
        UsageError: the benchmark has no such subset.
    """
    classes = _classes(dataset, subset.removesuffix(ONLY))
    vocabulary, offset = dataset.vocabulary, dataset.vocabulary.offset
    table = np.arange(256, dtype=np.uint8)
    if subset.endswith(ONLY):
        table[:] = dataset.info.ignore_label
        table[:offset] = range(offset)
        table[[offset + c for c in classes]] = range(offset, offset + len(classes))
        chosen = tuple(vocabulary.classes[c] for c in classes)
        vocabulary, classes = replace(vocabulary, classes=chosen), range(len(classes))
    scored = tuple(sorted(offset + c for c in classes))
    info = replace(dataset.info, subset=subset, scored=scored)
    return SubsetDataset(info, vocabulary, dataset.ids, dataset, table)


def subset_names(benchmark: str) -> list[str]:
    """Every subset of a benchmark in both readings."""
    return [name + end for name in SUBSETS.get(benchmark, {}) for end in ("", ONLY)]


def _classes(dataset: Dataset, subset: str) -> Sequence[int]:
    """Positions among the benchmark's classes, whatever these are called in this run."""
    benchmark = dataset.info.name
    if subset not in SUBSETS.get(benchmark, {}):
        known = ", ".join(subset_names(benchmark)) or "none"
        raise UsageError(f"{benchmark} has no subset {subset!r}; it has {known}")
    count = len(dataset.vocabulary.classes)
    plain = read_vocabulary(benchmark, "plain", num_classes=count, background=False).names
    return [plain.index(name) for name in SUBSETS[benchmark][subset]]
