"""Methods that are told by pictures what to look for."""

from __future__ import annotations

from ovbench.errors import UsageError
from ovbench.harness.protocol import Vocabulary


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
