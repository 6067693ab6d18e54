"""Training scenes, rendered when first asked for and kept."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.world import SIZE, SPLITS


class SceneBank:
    """``count`` scenes of a split, at 36 kB each."""

    def __init__(self, count: int, split: str = "train", start: int = 0) -> None:
        self.seeds = SPLITS[split][start : start + count]
        self._images = np.empty((len(self.seeds), SIZE, SIZE, 3), np.uint8)
        self._labels = np.empty((len(self.seeds), SIZE, SIZE), np.uint8)
        self._drawn = np.zeros(len(self.seeds), bool)

    def __len__(self) -> int:
        return len(self.seeds)

    def take(
        self, indices: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Images ``(N, SIZE, SIZE, 3)`` and labels ``(N, SIZE, SIZE)``, both uint8."""
        for index in indices[~self._drawn[indices]]:
            scene = render_scene(self.seeds[index])
            self._images[index], self._labels[index] = scene.image, scene.label
            self._drawn[index] = True
        return self._images[indices], self._labels[indices]
