"""RGB masks in which every class has a colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ovbench.datasets.reading.files import Files
from ovbench.errors import DataError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.files.images import read_colours


@dataclass(frozen=True, slots=True)
class ColourMasks(Files):
    """PNGs of any mode with 8 bits per channel, read by their colours.

    Attributes:
        colours: at least one; each is read as its position here.
    """

    suffix: str = ".png"
    colours: tuple[tuple[int, int, int], ...] = ()

    def read(self, image: str) -> LabelMap:
        """Positions of the colours, ``(H, W)`` uint8.

        Raises:
            DataError: missing, corrupt, of a format that changes colours, or a colour that is
                not in the list; names the file.
        """
        path = self.source(image)
        codes, known = _codes(read_colours(path)), _codes(np.array(self.colours))
        order = np.argsort(known)
        place = np.searchsorted(known, codes, sorter=order)
        positions = order[np.minimum(place, len(known) - 1)]
        strays = known[positions] != codes
        if strays.any():
            code = int(codes[strays][0])
            raise DataError(
                f"{path}: {np.count_nonzero(strays)} pixels have colours that stand for no "
                f"class, such as {code >> 16} {code >> 8 & 255} {code & 255}"
            )
        return positions.astype(np.uint8)


def _codes(colours: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """One number per colour of ``(..., 3)``."""
    wide = colours.astype(np.int32)
    codes: npt.NDArray[np.int32] = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
    return codes
