"""What there is of every checkpoint on this machine, without torch and without asking anybody."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ovbench.errors import UsageError
from ovbench.models.weights import catalogue, hub, official, packaged
from ovbench.models.weights.catalogue import Entry, OfficialFile, look_up
from ovbench.models.weights.official import State


@dataclass(frozen=True, slots=True)
class Item:
    """One checkpoint.

    Attributes:
        source: a hub id, an address, or ``"packaged"``.
        by_hand: only a person can fetch it, from the page at this address.
        files: which files are taken from there, in words.
        bytes: of the weight files that are here; otherwise what their source says, or None.
        state: of what is on this machine.
        path: where it lies on this machine, or None where it does not.
        into: the folder where it is looked for: a repository's in the hub's cache, or that of
            the authors' files.
    """

    role: str
    name: str
    source: str
    by_hand: bool
    files: str
    licence: str
    summary: str
    bytes: int | None
    state: State
    path: Path | None
    into: Path


def inventory() -> list[Item]:
    """Every checkpoint of the catalogue, and the miniatures in the package before them."""
    return [*map(_miniature, packaged.roles()), *map(_item, catalogue.ENTRIES)]


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
    return Item(
        role,
        f"toyworld/{role}",
        "packaged",
        by_hand=False,
        files=", ".join(file.relative_to(folder).as_posix() for file in weights),
        licence="apache-2.0",
        summary=card["model"],
        bytes=_size(weights),
        state="there",
        path=folder,
        into=folder,
    )


def _item(entry: Entry) -> Item:
    source = entry.source
    if isinstance(source, OfficialFile):
        address, files = source.url, source.name
        place, state = official.path_of(source), official.state_of(source)
        path, weights = (None, []) if state == "missing" else (place, [place])
        into = place.parent
    else:
        snapshot = hub.cached(source)
        path, weights = (snapshot.path, snapshot.weights) if snapshot else (None, [])
        state = "there" if snapshot else "missing"
        address, files, into = source.id, hub.wanted(source), hub.home_of(source)
    return Item(
        entry.role,
        entry.name,
        address,
        by_hand=entry.by_hand,
        files=files,
        licence=entry.licence,
        summary=entry.summary,
        bytes=entry.size if path is None else _size(weights),
        state=state,
        path=path,
        into=into,
    )


def _size(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths)
