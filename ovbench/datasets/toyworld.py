"""Rendered scenes as datasets: nothing to download, labels exact to the pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ovbench.datasets.choosing.choices import Choices
from ovbench.datasets.names import read_vocabulary
from ovbench.datasets.reading.encoding import LabelEncoding
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import BackgroundRule, DatasetInfo, Sample
from ovbench.harness.contract.vocabulary import Kind, Vocabulary
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.world import NAMES, SPLITS, STUFF, THINGS

IGNORE = 255
# The training split has millions of scenes; as a dataset its first ones are enough.
MOST_SCENES = 10_000


@dataclass(frozen=True, eq=False)
class ToyWorld:
    """One split of the rendered world.

    Attributes:
        ids: split and position, such as ``"val-000123"``.
        encoding: from the renderer's labels to those of the vocabulary.
    """

    info: DatasetInfo
    vocabulary: Vocabulary
    ids: Sequence[str]
    encoding: LabelEncoding

    def load(self, index: int) -> Sample:
        """Render sample ``index``."""
        name = self.ids[index]
        scene = render_scene(SPLITS[self.info.split][index])
        return Sample(name, scene.image, self.decode(scene.label, Path(name)))

    def decode(self, raw: LabelMap, source: Path) -> LabelMap:
        """Map the renderer's labels to those of the vocabulary.

        Raises:
            DataError: a value the renderer does not use; names the file.
        """
        return self.encoding.decode(raw, source)


def open_toyworld(choices: Choices) -> ToyWorld:
    """Ten things; stuff is the background label, or ignored. Built like VOC.

    Raises:
        UsageError: an unknown split or background rule.
    """
    background = choices.background_of("toyworld")
    count, scored = len(THINGS), background == "class"
    first, stuff = (1, 0) if scored else (0, IGNORE)
    labels = [*range(first, first + count), *[stuff] * len(STUFF)]
    kinds: list[Kind] = ["thing"] * count
    vocabulary = read_vocabulary(
        "toyworld", choices.names, num_classes=count, background=scored, kinds=kinds
    )
    return _open("toyworld", choices, background, vocabulary, labels)


def open_toyworld_stuff(choices: Choices) -> ToyWorld:
    """Ten things and five kinds of stuff, no background. Built like Context59.

    Raises:
        UsageError: an unknown split, or a background rule, as there is no background.
    """
    background = choices.no_background("toyworld_stuff")
    kinds: list[Kind] = ["thing"] * len(THINGS)
    kinds += ["stuff"] * len(STUFF)
    vocabulary = read_vocabulary(
        "toyworld_stuff", choices.names, num_classes=len(NAMES), background=False, kinds=kinds
    )
    return _open("toyworld_stuff", choices, background, vocabulary, range(len(NAMES)))


def _open(
    name: str,
    choices: Choices,
    background: BackgroundRule,
    vocabulary: Vocabulary,
    labels: Sequence[int],
) -> ToyWorld:
    """``labels`` has one entry per renderer's label."""
    split = choices.split_of(name, SPLITS)
    count = min(len(SPLITS[split]), MOST_SCENES)
    return ToyWorld(
        DatasetInfo(name, split, background, IGNORE, count, rendered=True),
        vocabulary,
        [f"{split}-{i:06d}" for i in range(count)],
        LabelEncoding.of(name, dict(enumerate(labels))),
    )
