"""Whether features and masks of pictures are kept for other methods, and what times leave out.

Features take gigabytes, so that they are only kept where somebody asks for it; masks are kept
unless somebody does not want them to be.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from ovbench.errors import UsageError

KEEP_FEATURES = "OVBENCH_KEEP_FEATURES"
"""How much of the cache they may take at most, such as ``20GB``."""

KEEP_REGIONS = "OVBENCH_KEEP_REGIONS"
"""0 where masks are neither kept nor read."""

REGIONS = "region masks"
"""The stage in which masks are had."""

MAKE = "make"
"""The stage within it in which they are made, which is not there where they are read."""

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


@contextmanager
def nothing_kept() -> Iterator[None]:
    """Neither features nor masks are kept or read meanwhile, in this whole process."""
    before = {name: os.environ.pop(name, None) for name in (KEEP_FEATURES, KEEP_REGIONS)}
    os.environ[KEEP_REGIONS] = "0"
    try:
        yield
    finally:
        del os.environ[KEEP_REGIONS]
        os.environ.update({name: value for name, value in before.items() if value is not None})


def regions_are_kept() -> bool:
    """Whether masks are read where they are there, and kept where they are not.

    Raises:
        UsageError: :data:`KEEP_REGIONS` is neither 0 nor 1.
    """
    asked = os.environ.get(KEEP_REGIONS) or "1"
    if asked not in ("0", "1"):
        raise UsageError(f"{KEEP_REGIONS}={asked[:40]}: must be 0 or 1")
    return asked == "1"


def regions_note(measured: Iterable[Mapping[str, float]]) -> list[str]:
    """What a result should say of its times.

    Args:
        measured: seconds per stage, of every image.
    """
    made = [f"{REGIONS}/{MAKE}" in stages for stages in measured if REGIONS in stages]
    read = made.count(False)
    if not read:
        return []
    some = "" if read == len(made) else f"{read:,} of {len(made):,} "
    return [
        f"{some}masks were read that another run had made: times leave that out "
        f"({KEEP_REGIONS}=0 makes them anew)"
    ]
