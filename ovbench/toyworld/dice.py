"""Random numbers that are the same on every platform and under every numpy version.

numpy promises a stable stream for a bit generator's raw output only, not for the
distributions of ``Generator``; so the few draws needed here are made from the raw output.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_BATCH = 64


class Dice:
    """Integer draws from one seed's PCG64 stream."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)
        self._ready: list[int] = []

    def below(self, limit: int) -> int:
        """One of ``0 .. limit - 1``; ``limit`` is far below 2**32, so the bias is nil."""
        if not self._ready:
            self._ready = (self._bits.random_raw(_BATCH) >> np.uint64(32)).tolist()
        return self._ready.pop() * limit >> 32

    def between(self, low: int, high: int) -> int:
        """One of ``low .. high``, both included."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        """True in ``percent`` of 100 draws."""
        return self.below(100) < percent

    def noise(self, height: int, width: int) -> npt.NDArray[np.uint8]:
        """White noise, ``(height, width)`` uint8; the area must be a multiple of 8."""
        raw = self._bits.random_raw(height * width // 8)
        return raw.astype("<u8", copy=False).view(np.uint8).reshape(height, width)
