"""Rendered scenes as datasets: nothing to download, labels exact to the pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovbench.datasets.names import read_vocabulary
from ovbench.errors import UsageError
from ovbench.harness.protocol import (
    BackgroundRule,
    DatasetInfo,
    Kind,
    LabelMap,
    Sample,
    Vocabulary,
)
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.world import SPLITS, STUFF, THINGS

IGNORE = 255
# The training split has millions of scenes; as a dataset its first ones are enough.
MOST_SCENES = 10_000


@dataclass(frozen=True, eq=False)
class ToyWorld:
    """One split of the rendered world.

    Attributes:
        table: from the renderer's labels to those of the vocabulary.
    """

    info: DatasetInfo
    vocabulary: Vocabulary
    ids: Sequence[str]
    table: npt.NDArray[np.uint8]

    def load(self, index: int) -> Sample:
        """Render sample ``index``."""
        scene = render_scene(SPLITS[self.info.split][index])
        return Sample(self.ids[index], scene.image, self.table[scene.label])

    def decode(self, raw: LabelMap, source: Path) -> LabelMap:
        """Map the renderer's labels to those of the vocabulary."""
        return self.table[raw]


def open_toyworld(
    root: Path | None,
    split: str | None,
    background: BackgroundRule | None,
    names: str | Path | None,
) -> ToyWorld:
    """Ten things; stuff is the background label, or ignored. Built like VOC.

    Raises:
        UsageError: an unknown split or background rule.
    """
    background = background or "class"
    if background == "none":
        raise UsageError("toyworld has a background: 'none' is not 'class' or 'ignore'")
    count = len(THINGS)
    first, rest = (1, 0) if background == "class" else (0, IGNORE)
    table = np.array([*range(first, first + count), *[rest] * len(STUFF)], dtype=np.uint8)
    kinds: list[Kind] = ["thing"] * count
    vocabulary = read_vocabulary(
        "toyworld", names, num_classes=count, background=background == "class", kinds=kinds
    )
    return _open("toyworld", split, background, vocabulary, table)


def open_toyworld_stuff(
    root: Path | None,
    split: str | None,
    background: BackgroundRule | None,
    names: str | Path | None,
) -> ToyWorld:
    """Ten things and five kinds of stuff, no background. Built like Context59.

    Raises:
        UsageError: an unknown split, or a background rule, as there is no background.
    """
    if background not in (None, "none"):
        raise UsageError(f"toyworld_stuff has no background to {background!r}")
    kinds: list[Kind] = ["thing"] * len(THINGS)
    kinds += ["stuff"] * len(STUFF)
    vocabulary = read_vocabulary(
        "toyworld_stuff", names, num_classes=len(kinds), background=False, kinds=kinds
    )
    return _open("toyworld_stuff", split, "none", vocabulary, np.arange(15, dtype=np.uint8))


def _open(
    name: str,
    split: str | None,
    background: BackgroundRule,
    vocabulary: Vocabulary,
    table: npt.NDArray[np.uint8],
) -> ToyWorld:
    split = split or "val"
    if split not in SPLITS:
        raise UsageError(f"{name} has no split {split!r}; it has {', '.join(SPLITS)}")
    seeds = SPLITS[split][:MOST_SCENES]
    info = DatasetInfo(name, split, background, IGNORE, len(seeds), rendered=True)
    return ToyWorld(info, vocabulary, [f"{split}-{i:06d}" for i in range(len(seeds))], table)
