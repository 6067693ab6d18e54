"""Annotation files of COCO's kind: JSON, with masks as polygons or run-length codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ovbench.errors import DataError, UsageError

Mask = npt.NDArray[np.bool_]
"""Pixels of an object, ``(H, W)``."""


def decode_mask(segmentation: Any, height: int, width: int, source: str) -> Mask:
    """The pixels of an object, as pycocotools fills polygons.

    Args:
        segmentation: a list of polygons, or ``{"counts", "size"}``.
        height, width: of the image.
        source: the file and the image, for messages.

    Raises:
        DataError: it cannot be decoded, or has another size.
    """
    from pycocotools import mask as codes

    try:
        if isinstance(segmentation, dict) and not isinstance(segmentation["counts"], list):
            encoded = segmentation
        else:
            encoded = codes.frPyObjects(segmentation, height, width)
        decoded = codes.decode(codes.merge(encoded) if isinstance(encoded, list) else encoded)
    except Exception as error:  # a compiled extension, which raises whatever it meets
        raise DataError(f"{source}: a mask cannot be decoded ({error})") from None
    if decoded.shape != (height, width):
        found = "x".join(map(str, reversed(decoded.shape)))
        raise DataError(f"{source}: a mask has {found} pixels, its image {width}x{height}")
    mask: Mask = decoded.astype(bool)
    return mask


def read_json(path: Path) -> Any:
    """The content of an annotation file.

    Raises:
        UsageError: missing, or not JSON; names the file.
    """
    try:
        with path.open("rb") as file:
            return json.load(file)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UsageError(f"{path}: not JSON ({error}); fetch the file again") from None
