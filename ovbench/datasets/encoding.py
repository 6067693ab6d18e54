"""From label values as a benchmark's files hold them to labels of the vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovbench.errors import DataError
from ovbench.harness.protocol import LabelMap

UNKNOWN = 0xFFFF
"""Table entry of the values that a label file must not hold."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelEncoding:
    """A look-up table. Every shift and every "ignore" of a benchmark happens here, once.

    Attributes:
        benchmark: for messages.
        table: ``(256,)`` uint16, from stored value to label or :data:`UNKNOWN`.
    """

    benchmark: str
    table: npt.NDArray[np.uint16]

    @classmethod
    def of(cls, benchmark: str, labels: Mapping[int, int]) -> LabelEncoding:
        """The encoding with ``labels[stored]`` for every value that is allowed, all below 256."""
        table = np.full(256, UNKNOWN, dtype=np.uint16)
        table[list(labels)] = np.fromiter(labels.values(), dtype=np.uint8)
        return cls(benchmark, table)

    def decode(self, raw: LabelMap, source: Path) -> npt.NDArray[np.uint8]:
        """Map stored values ``(H, W)`` to labels of the vocabulary.

        Raises:
            DataError: not 8-bit, or a value the benchmark does not know; names ``source``.
        """
        if raw.dtype != np.uint8:
            raise DataError(f"{source}: expected 8-bit label values, found {raw.dtype}")
        labels = np.take(self.table, raw)
        strays = labels == UNKNOWN
        if strays.any():
            values = np.unique(raw[strays]).tolist()
            raise DataError(f"{source}: label values {values} are unknown to {self.benchmark}")
        return labels.astype(np.uint8)
