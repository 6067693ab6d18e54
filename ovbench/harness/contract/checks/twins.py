"""Names that could not be told apart: empty ones, and equal ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def fault_in_names(
    shown: Sequence[str],
    texts: Sequence[Sequence[str]],
    *,
    ambiguous: bool,
    place: Callable[[int], str],
) -> str | None:
    """What is wrong with the names of a vocabulary, in one line, or None.

    ``cat`` and ``Cat`` are one name: no file system, table or reader is sure to keep them apart.

    Args:
        shown: the name of every label in tables.
        texts: what a method is asked with for every label; none for a background, whose texts
            are often names of classes too (SCLIP's "bed").
        ambiguous: a text may stand for several labels.
        place: where a label is named, such as "line 3".
    """
    for label, names in enumerate((shown[label], *texts[label]) for label in range(len(shown))):
        if not all(name.strip() for name in names):
            return f"{place(label)}: an empty name"
    if twins := _twins([(name,) for name in shown]):
        name, first, second = twins
        other = "" if name == shown[first] else f" ({shown[first]!r}; case makes no other name)"
        return f"{place(second)}: {name!r} is already {place(first)}{other}"
    if not ambiguous and (twins := _twins(texts)):
        name, first, second = twins
        return (
            f"{place(second)}: {name!r} already stands for {shown[first]!r} ({place(first)}); "
            "a text can stand for one class"
        )
    return None


def _twins(labels: Sequence[Sequence[str]]) -> tuple[str, int, int] | None:
    """The first name that two labels have, and these."""
    seen: dict[str, int] = {}
    for label, names in enumerate(labels):
        for name in names:
            first = seen.setdefault(" ".join(name.casefold().split()), label)
            if first != label:
                return name, first, label
    return None
