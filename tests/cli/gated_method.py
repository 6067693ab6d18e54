"""A method that waits, so that a test knows where a run is when something happens to it."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Vocabulary

FREE = 3
"""Images that each process segments before it waits for the file ``$GATE``."""


@dataclass(frozen=True)
class GatedSettings:
    pass


class Gated:
    """Answers a class that the image and the seed decide."""

    Settings = GatedSettings

    def __init__(self, settings: GatedSettings, runtime: Runtime) -> None:
        self.seed, self.seen = runtime.seed, 0

    def prepare(self, vocabulary: Vocabulary) -> None:
        self.labels = len(vocabulary)

    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        self.seen += len(images)
        while self.seen > FREE and not Path(os.environ["GATE"]).exists():
            time.sleep(0.02)
        labels = [(int(image.sum()) + self.seed) % self.labels for image in images]
        return [
            np.full(image.shape[:2], label, np.uint8)
            for image, label in zip(images, labels, strict=True)
        ]
