"""Images of two noisy patches, each of a named colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import ImageColor

from ovbench.authoring import Choices, Dataset, DatasetInfo, LabelMap, Sample, Vocabulary

NAMES = ("red", "lime", "blue", "yellow", "white", "black")


@dataclass(frozen=True)
class ColourPatches:
    """Sixteen images that need no files."""

    info: DatasetInfo = field(default_factory=lambda: DatasetInfo("colour_patches", "val", "none"))
    vocabulary: Vocabulary = field(default_factory=lambda: Vocabulary.of(*NAMES))
    ids: Sequence[str] = tuple(f"patch-{number:02d}" for number in range(16))

    def load(self, index: int) -> Sample:
        """Draw sample ``index``."""
        rng = np.random.default_rng(index)
        first, second = rng.choice(len(NAMES), size=2, replace=False)
        label = np.full((48, 64), first, dtype=np.uint8)
        label[:, rng.integers(8, 56) :] = second
        palette = np.array([ImageColor.getrgb(name) for name in NAMES])
        noise = rng.normal(0, 25, (*label.shape, 3))
        return Sample(self.ids[index], np.clip(palette[label] + noise, 0, 255).astype("u1"), label)

    def decode(self, raw: LabelMap, source: Path) -> LabelMap:
        """Label files, had this dataset any, would hold label indices."""
        return raw


def open_colour_patches(choices: Choices) -> Dataset:
    """The dataset; it has one split, no files and one set of names."""
    return ColourPatches()
