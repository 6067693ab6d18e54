"""Weights that are fetched, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ovbench.cli.progress.working import work_shown
from ovbench.cli.shared.console import say, tell
from ovbench.errors import UsageError
from ovbench.models.weights.catalogue import look_up, size_in_words
from ovbench.models.weights.inventory import item_of
from ovbench.models.weights.obtain import obtain


def fetch_all(names: Sequence[str]) -> None:
    """Fetch what is not here, sizes first, and say where each lies.

    Args:
        names: each ``"role/name"``.

    Raises:
        UsageError: the last of what cannot be fetched, when all else is here; the others are told.
    """
    entries = {name: look_up(*name.split("/", 1)) for name in names}
    for name, entry in entries.items():
        item = item_of(name)
        if item is not None and item.state == "missing":
            tell(f"{name}: {size_in_words(entry.size)}, {entry.licence or 'licence unknown'}")
    failures = []
    for name in sorted(names, key=lambda one: entries[one].by_hand):
        try:
            with work_shown():
                found = obtain(entries[name])
        except UsageError as error:
            failures.append(error)
        else:
            say(f"{name}: {found if isinstance(found, Path) else found.path}")
    for failure in failures[:-1]:
        tell(f"error: {failure}")
    if failures:
        raise failures[-1]
