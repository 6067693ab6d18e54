"""The counts of an image as older versions wrote them: eleven lists in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ovbench.harness.metrics.boundary import BoundaryAreas
from ovbench.harness.metrics.scores import Confusion, Counts, Void
from ovbench.harness.results.packed import FAR_COUNT, FAR_LABEL


def read_lists(data: Mapping[str, Any]) -> tuple[Confusion, BoundaryAreas]:
    """What was counted on an image, from a line that spells it out.

    Nothing is rounded, parsed or wrapped around on its way into an array.

    Raises:
        KeyError: a list is missing.
        TypeError: it is no list of whole numbers.
        ValueError: lists differ in length, or a number is far beyond any image.
        OverflowError: a number is beyond an int64.
    """
    boundary, void = data["boundary"], data.get("void")  # protocol version 1 counted none
    confusion = Confusion(
        _labels(data["gt"]),
        _labels(data["pred"]),
        whole(data["pixels"]),
        None if void is None else Void(_labels(void["pred"]), whole(void["pixels"])),
    )
    edges = BoundaryAreas(
        *(whole(boundary[name]) for name in ("labels", "intersection", "gt", "pred"))
    )
    _check_lengths("counts", confusion.gt, confusion.pred, confusion.pixels)
    if confusion.void is not None:
        _check_lengths("ignored pixels", confusion.void.pred, confusion.void.pixels)
    _check_lengths("boundary counts", edges.labels, edges.intersection, edges.gt, edges.pred)
    return confusion, edges


def whole(values: Any) -> Counts:
    """A list of whole numbers, int64.

    Raises:
        TypeError: it is none.
        ValueError: a number is far beyond any image.
        OverflowError: a number is beyond an int64.
    """
    if type(values) is not list or not set(map(type, values)) <= {int}:
        raise TypeError("counts and labels are lists of whole numbers")
    if values and not -FAR_COUNT <= min(values) <= max(values) < FAR_COUNT:
        raise ValueError("a count is too large for any image")
    return np.asarray(values, np.int64)


def _labels(values: Any) -> npt.NDArray[np.int32]:
    found = whole(values)
    if found.size and not -FAR_LABEL <= found.min() <= found.max() < FAR_LABEL:
        raise ValueError("a label is far outside any vocabulary")
    return found.astype(np.int32)


def _check_lengths(what: str, *lists: npt.NDArray[Any]) -> None:
    if len(set(map(len, lists))) > 1:
        raise ValueError(f"its {what} are incomplete")
