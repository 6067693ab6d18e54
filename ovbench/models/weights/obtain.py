"""A checkpoint on this machine, from the hub's cache or the folder of official files."""

from __future__ import annotations

from pathlib import Path

from ovbench.models.weights import hub, official
from ovbench.models.weights.catalogue import Entry, Repository
from ovbench.models.weights.hub import Snapshot


def obtain(entry: Entry, instead: str = "") -> Snapshot | Path:
    """What is known by an entry, downloaded first where it is missing.

    Args:
        instead: what else to advise where it cannot be had, behind a comma.

    Returns:
        What is needed of a repository, or the one file.

    Raises:
        UsageError: neither here nor downloadable; says which files, how large, from where, and
            where they go.
    """
    if isinstance(entry.source, Repository):
        return hub.fetch(entry.source, instead, entry.size)
    return official.fetch(entry.source, instead, entry.size)
