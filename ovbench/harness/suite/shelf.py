"""The suites that come with the package, by name."""

from __future__ import annotations

import os
from pathlib import Path

from ovbench.errors import UsageError
from ovbench.harness.contract.checks.nearest import nearest

SHELF = Path(__file__).parent / "shipped"


def shipped() -> list[str]:
    """Their names."""
    return sorted(path.stem for path in SHELF.glob("*.yaml"))


def suite_path(text: str) -> Path:
    """The file that is meant: one of that name, else a suite that comes with the package.

    Raises:
        UsageError: there is neither.
    """
    if os.path.isfile(text):
        return Path(text)
    if text in shipped():
        return SHELF / f"{text}.yaml"
    raise UsageError(
        f"no suite {text!r}: no such file, nor in the package; {nearest(text, shipped())}"
    )
