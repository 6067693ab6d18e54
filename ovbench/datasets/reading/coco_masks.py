"""Annotation files of COCO's kind: JSON, with masks as polygons or run-length codes.

Masks are checked before anything is drawn: the compiled code that fills polygons trusts what it
gets, and crashes, hangs or takes all memory on coordinates far outside.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ovbench.errors import DataError, UsageError
from ovbench.harness.contract.progress import say
from ovbench.harness.files.json_files import parse
from ovbench.harness.files.regular import regular

Mask = npt.NDArray[np.bool_]
"""Pixels of an object, ``(H, W)``."""

Runs = npt.NDArray[np.int64]

MARGIN = 1.0
"""How far outside an image polygons may reach, in sides of the image; COCO's hardly leave it."""

MAX_OUTLINE = 1 << 22
"""Pixels along the outline of one polygon, which bound the memory that filling it takes."""

LARGE = 1 << 26
"""Bytes of a file whose reading is said, because it takes seconds."""


def decode_mask(segmentation: Any, height: int, width: int, source: str) -> Mask:
    """The pixels of an object, as pycocotools fills polygons.

    Args:
        segmentation: a list of polygons, or ``{"counts", "size"}``.
        height, width: of the image.
        source: the file, the image and the annotation, for messages.

    Raises:
        DataError: it cannot be decoded, or has another size.
    """
    try:
        if isinstance(segmentation, dict):
            return _fill_runs(segmentation, height, width)
        return _fill_polygons(segmentation, height, width)
    except ValueError as error:
        raise DataError(f"{source}: a mask cannot be decoded ({error})") from None


def read_json(path: Path) -> Any:
    """The content of an annotation file.

    Raises:
        UsageError: missing, or not JSON; names the file.
    """
    try:
        if (size := path.stat().st_size) >= LARGE:
            say(f"reading {path.name} ({size / 2**20:.0f} MiB)")
        return parse(regular(path).read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UsageError(f"{path}: not JSON ({error}); fetch the file again") from None


def _fill_runs(code: dict[str, Any], height: int, width: int) -> Mask:
    """Runs of pixels outside and inside in turn, down the columns."""
    size, counts = code.get("size"), code.get("counts")
    if size != [height, width]:
        raise ValueError(
            f"its size is {str(size)[:40]}, the one stated for the image [{height}, {width}]"
        )
    if isinstance(counts, list):
        if not all(isinstance(n, int) and 0 <= n <= height * width for n in counts):
            raise ValueError("its counts are no numbers of pixels")
        runs = np.asarray(counts, dtype=np.int64)
    elif isinstance(counts, str):
        runs = _unpack_runs(counts)
    else:
        raise ValueError("it has no counts")
    total = int(runs.sum())
    if total != height * width or runs.min(initial=0) < 0:
        raise ValueError(f"its counts sum to {total} pixels, not {height * width}")
    inside = np.arange(len(runs)) % 2 == 1
    mask: Mask = np.repeat(inside, runs).reshape(width, height).T
    return np.ascontiguousarray(mask)


def _unpack_runs(text: str) -> Runs:
    """Runs from COCO's compressed text.

    A number takes one or more characters of five bits each, lowest first, whose sixth bit says that
    more follow and whose fifth is the sign in the last one. From the fourth number on it is the
    difference to the number before the last (``rleFrString`` of its API).
    """
    units = np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    if units.size == 0 or units.min() < 0 or units.max() > 63 or units[-1] & 32:
        raise ValueError("its counts are no run-length code")
    last = np.flatnonzero((units & 32) == 0)
    first = np.concatenate(([0], last[:-1] + 1))
    if int((last - first).max()) > 6:  # 35 bits; images have fewer pixels
        raise ValueError("its counts are no run-length code")
    place = np.arange(len(units)) - np.repeat(first, last - first + 1)
    numbers = np.add.reduceat((units & 31) << (5 * place), first)
    negative = (units[last] & 16) != 0
    numbers[negative] -= 1 << (5 * (last - first + 1)[negative])
    for start in (1, 2):
        numbers[start::2] = np.cumsum(numbers[start::2])
    return numbers


def _fill_polygons(polygons: Any, height: int, width: int) -> Mask:
    from pycocotools import mask as codes

    if not isinstance(polygons, list) or not polygons:
        raise ValueError("neither polygons nor a run-length code")
    for polygon in polygons:
        _check_polygon(polygon, height, width)
    decoded = codes.decode(codes.merge(codes.frPyObjects(polygons, height, width)))
    mask: Mask = decoded.astype(bool)
    return mask


def _check_polygon(polygon: Any, height: int, width: int) -> None:
    """Are these the corners of something in an image?"""
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        raise ValueError("a polygon needs three or more pairs of numbers")
    if not all(isinstance(n, int | float) and abs(n) < 1 << 32 for n in polygon):
        raise ValueError("a polygon's corners are no numbers")
    corners = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
    side = np.array([width, height])
    if (corners < -MARGIN * side).any() or (corners > (1 + MARGIN) * side).any():
        raise ValueError(
            f"a polygon lies far outside the {width}x{height} pixels stated for the image"
        )
    steps = np.abs(np.diff(corners, axis=0, append=corners[:1])).max(axis=1)
    if steps.sum() > MAX_OUTLINE:
        raise ValueError(f"a polygon's outline has more than {MAX_OUTLINE:,} pixels")
