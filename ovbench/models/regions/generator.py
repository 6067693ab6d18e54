"""What makes masks of an image: a frozen dataclass of settings that can be loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.regions.maps import MaskArray, ScoreArray


@dataclass(frozen=True, slots=True)
class ReadyGenerator:
    """A generator that is ready.

    Attributes:
        masks: of an image ``(H, W, 3)`` uint8: ``(n, H, W)`` bool and a score each, ``(n,)``.
        checkpoints: which weights it has.
        code: what else makes the masks, such as a library's release, or a digest of code that
            is not this package's.
    """

    masks: Callable[[Image], tuple[MaskArray, ScoreArray]]
    checkpoints: tuple[CheckpointRecord, ...]
    code: str


class Generator(Protocol):
    """What makes masks of an image."""

    def load(self, runtime: Runtime) -> ReadyGenerator:
        """Make it ready; UsageError where weights or a library cannot be had."""
        ...


def one_by_one(numbered: npt.NDArray[Any], numbers: npt.NDArray[Any]) -> MaskArray:
    """A map's regions as masks, ``(n, H, W)``."""
    masks: MaskArray = numbered[None] == numbers[:, None, None]
    return masks
