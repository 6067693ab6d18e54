"""What may have been meant by a name that there is not."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches


def nearest(name: str, names: Collection[str], *, alike: float = 0.6) -> str:
    """``did you mean 'x'?``, or all the names that there are.

    Args:
        alike: from 0 to 1, how much of two names has to be the same for the one to be meant.
    """
    if close := get_close_matches(name, names, n=1, cutoff=alike):
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(names)}" if names else "there are none"
