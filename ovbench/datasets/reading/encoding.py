"""From label values as a benchmark's files hold them to labels of the vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovbench.errors import DataError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import BackgroundRule

UNKNOWN = 0xFFFF
"""Table entry of the values that a label file must not hold."""

_SHOWN = 20
"""Unknown values in a message; a file of 32 bits may hold millions."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelEncoding:
    """A look-up table. Every shift and every "ignore" of a benchmark happens here, once.

    Attributes:
        benchmark: for messages.
        table: ``(256,)`` uint16, or ``(65536,)`` where values need 16 bits, from stored value
            to label or :data:`UNKNOWN`.
        advice: what to do about unknown values, where there is something to do.
    """

    benchmark: str
    table: npt.NDArray[np.uint16]
    advice: str = ""

    @classmethod
    def of(cls, benchmark: str, labels: Mapping[int, int], advice: str = "") -> LabelEncoding:
        """The encoding with ``labels[stored]``, below 256, for every value that is allowed."""
        table = np.full(256 if max(labels) < 256 else 1 << 16, UNKNOWN, dtype=np.uint16)
        table[list(labels)] = np.fromiter(labels.values(), dtype=np.uint8)
        return cls(benchmark, table, advice)

    def decode(self, raw: LabelMap, source: Path) -> npt.NDArray[np.uint8]:
        """Map stored values ``(H, W)`` to labels of the vocabulary.

        Raises:
            DataError: a value the benchmark does not know; names ``source``.
        """
        last = len(self.table) - 1
        # A file of 8 bits holds nothing beyond a table of 16, whose end its numbers do not reach.
        beyond = np.iinfo(raw.dtype).max > last
        labels = np.take(self.table, np.minimum(raw, last) if beyond else raw)
        strays = labels == UNKNOWN
        if beyond:
            strays |= raw > last
        if strays.any():
            values = np.unique(raw[strays]).tolist()
            shown = ", ".join(map(str, values[:_SHOWN])) + ", …" * (len(values) > _SHOWN)
            advice = f"; {self.advice}" if self.advice else ""
            raise DataError(
                f"{source}: label values [{shown}] are unknown to {self.benchmark}{advice}"
            )
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
