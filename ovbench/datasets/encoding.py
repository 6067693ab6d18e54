"""From label values as a benchmark's files hold them to labels of the vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovbench.errors import DataError
from ovbench.harness.protocol import BackgroundRule, LabelMap

UNKNOWN = 0xFFFF
"""Table entry of the values that a label file must not hold."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelEncoding:
    """A look-up table. Every shift and every "ignore" of a benchmark happens here, once.

    Attributes:
        benchmark: for messages.
        table: ``(256,)`` uint16, or ``(65536,)`` where values need 16 bits, from stored value
            to label or :data:`UNKNOWN`.
    """

    benchmark: str
    table: npt.NDArray[np.uint16]

    @classmethod
    def of(cls, benchmark: str, labels: Mapping[int, int]) -> LabelEncoding:
        """The encoding with ``labels[stored]``, below 256, for every value that is allowed."""
        table = np.full(256 if max(labels) < 256 else 1 << 16, UNKNOWN, dtype=np.uint16)
        table[list(labels)] = np.fromiter(labels.values(), dtype=np.uint8)
        return cls(benchmark, table)

    def decode(self, raw: LabelMap, source: Path) -> npt.NDArray[np.uint8]:
        """Map stored values ``(H, W)`` to labels of the vocabulary.

        Raises:
            DataError: wider than the benchmark's values are, or a value the benchmark does not
                know; names ``source``.
        """
        bits = 8 if len(self.table) == 256 else 16
        if raw.dtype.itemsize * 8 > bits:
            raise DataError(f"{source}: expected {bits}-bit label values, found {raw.dtype}")
        labels = np.take(self.table, raw)
        strays = labels == UNKNOWN
        if strays.any():
            values = np.unique(raw[strays]).tolist()
            raise DataError(f"{source}: label values {values} are unknown to {self.benchmark}")
        return labels.astype(np.uint8)


def background_encoding(
    benchmark: str, num_classes: int, background: BackgroundRule, void: int = 255
) -> LabelEncoding:
    """Files with 0 for background and 1 to ``num_classes`` for the classes.

    Args:
        background: "class" keeps the values; else 0 becomes void and every class moves down by
            one (mmsegmentation's ``reduce_zero_label``), here and nowhere else.
        void: stored value, and label, of pixels that are never scored.
    """
    offset = 1 if background == "class" else 0
    classes = {value: value - 1 + offset for value in range(1, num_classes + 1)}
    return LabelEncoding.of(benchmark, {void: void, 0: 0 if offset else void, **classes})
