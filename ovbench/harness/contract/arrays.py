"""Images and label maps, as arrays."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Image: TypeAlias = npt.NDArray[np.uint8]
"""An RGB image, ``(H, W, 3)`` uint8."""

LabelMap: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]
"""Labels, ``(H, W)``, unsigned; values index the vocabulary."""
