"""Pictures that take a second, for the tests of this room; real ones and ones without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.diffusion.attention import DAAM
from ovbench.models.diffusion.sampling import Sampling
from ovbench.support import Recipe

if TYPE_CHECKING:  # not loaded where nothing is made
    from ovbench.models.diffusion.model import Generated, Request

RECIPE = Recipe(
    "stable_diffusion_v1_5", "a picture of a {}", "dog", Sampling("dpm-solver++", 2, 4.0), DAAM, 7
)
RUNTIME = Runtime(checkpoints="toy")
NAMES = ("ring", "cross", "star", "red disc")
COUNT = 2


class Painter:
    """Stands for Stable Diffusion: a picture is noise that its request seeds."""

    image_size, cell = 16, 4
    checkpoints = (CheckpointRecord("stable_diffusion", "painter/one/unet", None, None),)

    def __init__(self) -> None:
        self.batches: list[Sequence[Request]] = []

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        *,
        progress: Callable[[int, int], None],
        **_: Any,
    ) -> Generated:
        from ovbench.models.diffusion.model import Generated

        self.batches.append(requests)
        for step in range(sampling.steps):
            progress(step + 1, sampling.steps)
        draws = [np.random.default_rng(request.seed) for request in requests]
        images = np.stack([rng.integers(0, 256, (16, 16, 3), np.uint8) for rng in draws])
        maps = np.stack([rng.random((4, 4), np.float32) for rng in draws])
        return Generated(images, torch.from_numpy(maps))
