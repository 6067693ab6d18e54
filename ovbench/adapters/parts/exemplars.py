"""Methods that are told by pictures what to look for."""

from __future__ import annotations

from ovbench.errors import UsageError
from ovbench.harness.contract.vocabulary import Exemplar, Vocabulary


def require_exemplars(vocabulary: Vocabulary, method: str) -> None:
    """Refuse a vocabulary in which some class is not shown by any picture.

    Raises:
        UsageError: names the classes and says what to type.
    """
    missing = [query.name for query in vocabulary.classes if not query.exemplars]
    if not missing:
        return
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    raise UsageError(
        f"{method} is told by pictures what to look for, and none shows "
        f"{', '.join(missing[:3])}{more}; give some with `ovbench run --prompts DIR` or "
        "`--prompts train`, or take a dataset that brings them, such as perseg"
    )


def require_masks(vocabulary: Vocabulary, method: str, otherwise: str = "") -> None:
    """Refuse a vocabulary in which some class's pictures do not say where it is in them.

    Args:
        otherwise: what to type for the method to do without, if it can.

    Raises:
        UsageError: a class that nothing shows (:func:`require_exemplars`), or a picture without
            a mask, with an empty one or with one of another size; names the class.
    """
    require_exemplars(vocabulary, method)
    for query in vocabulary.classes:
        for number, exemplar in enumerate(query.exemplars, start=1):
            fault = _fault(exemplar)
            if fault:
                hint = f", or {otherwise}" if otherwise else ""
                raise UsageError(
                    f"{method} needs a mask of the object in every prompt image, and that of "
                    f"{query.name}, number {number}, {fault}; give it one{hint}"
                )


def _fault(exemplar: Exemplar) -> str:
    """What is wrong with a picture's mask, or nothing."""
    mask, size = exemplar.mask, exemplar.image.shape[:2]
    if mask is None:
        return "has none"
    if mask.shape != size:
        return f"has one of {mask.shape[1]}x{mask.shape[0]} pixels for {size[1]}x{size[0]}"
    return "" if mask.any() else "has an empty one"
