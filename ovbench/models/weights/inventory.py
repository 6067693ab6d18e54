"""What there is of every checkpoint on this machine, without torch and without asking anybody."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ovbench.errors import UsageError
from ovbench.models.weights import hub, official, packaged
from ovbench.models.weights.catalogue import ENTRIES, Entry, OfficialFile, look_up


@dataclass(frozen=True, slots=True)
class Item:
    """One checkpoint.

    Attributes:
        source: a hub id, an address, or ``"packaged"``.
        bytes: of the weight files that are here; otherwise what their source says, or None.
        path: where it lies on this machine, or None where it does not.
    """

    role: str
    name: str
    source: str
    licence: str
    summary: str
    bytes: int | None
    path: Path | None


def inventory() -> list[Item]:
    """Every checkpoint of the catalogue, and the miniatures in the package before them."""
    return [*map(_miniature, packaged.roles()), *map(_item, ENTRIES)]


def item_of(checkpoint: str) -> Item | None:
    """What there is of one checkpoint.

    Args:
        checkpoint: ``"role/name"`` of the catalogue, or ``"role/owner/name"`` of the hub.

    Returns:
        None where nothing is known by that name; of what only the hub knows, no licence.
    """
    role, _, name = checkpoint.partition("/")
    try:
        return _item(look_up(role, name))
    except UsageError:
        return None


def _miniature(role: str) -> Item:
    folder, weights = packaged.weights_of(role)
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    name, size = f"toyworld/{role}", _size(weights)
    return Item(role, name, "packaged", "apache-2.0", card["model"], size, folder)


def _item(entry: Entry) -> Item:
    path, weights = _on_this_machine(entry)
    source = entry.source.url if isinstance(entry.source, OfficialFile) else entry.source.id
    size = entry.size if path is None else _size(weights)
    return Item(entry.role, entry.name, source, entry.licence, entry.summary, size, path)


def _on_this_machine(entry: Entry) -> tuple[Path | None, list[Path]]:
    if isinstance(entry.source, OfficialFile):
        path = official.path_of(entry.source)
        return (path, [path]) if path.is_file() else (None, [])
    snapshot = hub.cached(entry.source)
    return (snapshot.path, snapshot.weights) if snapshot else (None, [])


def _size(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths)
