"""Whether features of pictures are kept for other methods, and how many.

They take gigabytes, so that they are only kept where somebody asks for it.
"""

from __future__ import annotations

import os
import re

from ovbench.errors import UsageError

KEEP_FEATURES = "OVBENCH_KEEP_FEATURES"
"""How much of the cache they may take at most, such as ``20GB``."""

_UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}


def kept_features() -> int | None:
    """The bytes that may be kept; None where nobody asked for it.

    Raises:
        UsageError: :data:`KEEP_FEATURES` is no size.
    """
    asked = os.environ.get(KEEP_FEATURES)
    if not asked:
        return None
    size = re.fullmatch(r"([0-9]{1,9}) ?(MB|GB|TB)", asked.strip())
    if size is None:
        raise UsageError(f"{KEEP_FEATURES}={asked[:40]}: must be a size such as 500MB or 20GB")
    return int(size[1]) * _UNITS[size[2]]


def features_note() -> list[str]:
    """What a result should say of its times."""
    if kept_features() is None:
        return []
    return [f"features were kept ({KEEP_FEATURES}): times leave out what another run computed"]
