"""Asking a segmenter, in whatever shape its author takes the question and gives the answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ovbench.errors import ContractError
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.progress import progress
from ovbench.harness.contract.segmenters import Segmenter
from ovbench.harness.contract.vocabulary import Vocabulary

_WIDTHS: tuple[type[np.unsignedinteger[Any]], ...] = (np.uint8, np.uint16, np.uint32)


def takes_candidates(segmenter: Segmenter) -> bool:
    """Whether ``segment`` takes more than the images."""
    segment = segmenter.segment
    function = getattr(segment, "__func__", None)  # a method is another object at every look
    return _binds(segment, 2) if function is None else _bound(function)


@lru_cache
def _bound(function: Callable[..., Any]) -> bool:
    return _binds(function, 3)


def _binds(function: Callable[..., Any], arguments: int) -> bool:
    """Whether it can be called with so many."""
    try:
        inspect.signature(function).bind(*[None] * arguments)
    except TypeError:
        return False
    except ValueError:  # built in, and says nothing of itself
        return True
    return True


def prepare(segmenter: Segmenter, vocabulary: Vocabulary) -> None:
    """Prepare a method for a vocabulary, which whoever watches is told."""
    with progress(f"prepare for {len(vocabulary)} classes", total=None):
        segmenter.prepare(vocabulary)


def ask(
    segmenter: Segmenter,
    images: Sequence[Image],
    candidates: Sequence[Collection[int]] | None = None,
    *,
    ids: Sequence[str] = (),
) -> list[LabelMap]:
    """Segment images with a method that may answer with arrays, tensors or lists of any integers.

    Args:
        images, candidates: as :meth:`~ovbench.Segmenter.segment` takes them.
        ids: of the images, for messages.

    Returns:
        What came back, as unsigned arrays; their number, sizes and labels are not checked.

    Raises:
        ContractError: there is no answer, one is not made of whole numbers from 0 up, or
            candidates are for a method that takes none.
    """
    if takes_candidates(segmenter):
        answers: Any = segmenter.segment(images, candidates)
    elif candidates is None:
        answers = segmenter.segment(images)
    else:
        raise ContractError("segment takes images only, so it cannot answer within candidates")
    try:
        maps = list(answers)
    except TypeError:
        raise ContractError(
            f"segment returned {_kind(answers)}; one label map per image is due"
        ) from None
    names = [*(f"image {name}: " for name in ids), *[""] * len(maps)]
    return [_label_map(answer, name) for answer, name in zip(maps, names, strict=False)]


def _label_map(answer: Any, where: str) -> LabelMap:
    if hasattr(answer, "detach"):  # a tensor, on whatever device
        answer = answer.detach().cpu()
    try:
        labels = np.asarray(answer)
    except (TypeError, ValueError):  # rows of several lengths; a type that NumPy does not have
        raise ContractError(f"{where}a label map is {_kind(answer)}; labels are integers") from None
    if labels.dtype.kind not in "iu":
        what = _kind(answer) if labels.dtype.kind == "O" else labels.dtype
        raise ContractError(f"{where}a label map is {what}; labels are integers")
    if labels.dtype.kind == "u" and labels.dtype.itemsize <= 4:
        return labels
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low < 0:
        raise ContractError(f"{where}a label map holds the label {low}; labels are 0 and up")
    fitting = (width for width in _WIDTHS if high <= np.iinfo(width).max)
    return labels.astype(next(fitting, np.uint32)) if high < 1 << 32 else labels


def _kind(answer: Any) -> str:
    return "None" if answer is None else f"of type {type(answer).__name__}"
