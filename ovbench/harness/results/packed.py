"""The counts of an image as short text: what most of a record is.

Labels and pixels are two rows of whole numbers, each packed into a letter and base64. The letter
is Python's ``struct`` code of the smallest integer that holds every number of the row (``B`` ``H``
``I`` without sign, ``b`` ``h`` ``i`` ``q`` with one), the rest the numbers, the lowest byte first:
``0, 0, 7`` is ``"BAAAH"``. Three lengths cut the rows up:

- labels: ground truth and prediction of the ``pairs``, prediction of the ``void`` ones, ``edges``;
- pixels: of the pairs, of the void ones; intersection, ground truth and prediction of the edges.

Older versions spelt eleven lists out (:mod:`ovbench.harness.results.spelt_out`).
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ovbench.harness.metrics.boundary import BoundaryAreas
from ovbench.harness.metrics.scores import Confusion, Pixels, Void

# Of every letter: the numbers it is for, and how they lie in the text.
_KINDS: Final = {
    code: (np.iinfo(code).min, np.iinfo(code).max, np.dtype(code).newbyteorder("<"))
    for code in "BHIbhiq"
}
FAR_LABEL, FAR_COUNT = 1 << 31, 1 << 48
"""Beyond any vocabulary, and any image: sums of counts below it do not wrap around."""


def pack(confusion: Confusion, boundary: BoundaryAreas) -> dict[str, Any]:
    """Counts as JSON has them."""
    void, edges = confusion.void, boundary
    ignored = (np.zeros(0, np.int64),) * 2 if void is None else (void.pred, void.pixels)
    return {
        "pairs": len(confusion.pixels),
        "void": None if void is None else len(void.pixels),
        "edges": len(edges.labels),
        "labels": _packed([confusion.gt, confusion.pred, ignored[0], edges.labels]),
        "pixels": _packed([confusion.pixels, ignored[1], edges.intersection, edges.gt, edges.pred]),
    }


def unpack(counts: Mapping[str, Any]) -> tuple[Confusion, BoundaryAreas]:
    """The inverse of :func:`pack`.

    Raises:
        KeyError: a part is missing.
        ValueError: a text is no packed row, a row has not the numbers that it should have, or one
            of them is far beyond any image.
        TypeError: a length is no whole number, or a row no text.
    """
    pairs, void, edges = counts["pairs"], counts["void"], counts["edges"]
    ignored = 0 if void is None else void
    if not all(type(length) is int and length >= 0 for length in (pairs, ignored, edges)):
        raise TypeError("its lengths are no whole numbers")
    gt, pred, void_pred, known = _cut(
        _unpacked(counts["labels"], np.int32, FAR_LABEL), (pairs, pairs, ignored, edges)
    )
    pixels, void_pixels, both, edge_gt, edge_pred = _cut(
        _unpacked(counts["pixels"], np.int64, FAR_COUNT), (pairs, ignored, edges, edges, edges)
    )
    confusion = Confusion(gt, pred, pixels, None if void is None else Void(void_pred, void_pixels))
    return confusion, BoundaryAreas(known, both, edge_gt, edge_pred)


def _packed(parts: Sequence[Pixels]) -> str:
    row = np.concatenate(parts)
    low, high = row.min(initial=0), row.max(initial=0)
    for code, (least, most, kind) in _KINDS.items():
        if least <= low and high <= most:
            return code + b64encode(row.astype(kind).tobytes()).decode()
    raise ValueError(f"{high} is no count")


def _unpacked(text: str, kind: npt.DTypeLike, far: int) -> Pixels:
    if type(text) is not str:
        raise TypeError("labels and pixels are packed into text")
    if text[:1] not in _KINDS:
        raise ValueError("labels or pixels are packed in no known way")
    _, most, packed = _KINDS[text[0]]
    row = np.frombuffer(b64decode(text[1:], validate=True), packed)
    if most >= far and row.size and not -far <= row.min() <= row.max() < far:
        raise ValueError("a label or a count is far outside any image")
    found: Pixels = row.astype(kind)
    return found


def _cut(row: Pixels, lengths: Sequence[int]) -> list[Any]:
    if len(row) != sum(lengths):
        raise ValueError("its counts are incomplete")
    parts, start = [], 0
    for length in lengths:
        parts.append(row[start : start + length])
        start += length
    return parts
