"""What the cache holds; whatever is deleted of it is made again when it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovbench.harness.files.cache import cache_home
from ovbench.harness.files.json_files import parse
from ovbench.harness.files.regular import regular
from ovbench.support.drawing_code import drawing_code
from ovbench.support.shelf import HOME, NOTE


@dataclass(frozen=True, slots=True)
class StoredSet:
    """A support set.

    Attributes:
        path: its folder.
        key: everything that decides its pictures.
        bytes: of its files.
    """

    path: Path
    pictures: int
    bytes: int
    key: Mapping[str, Any]

    @property
    def is_of_this_code(self) -> bool:
        """Whether what would draw its pictures today is what drew them."""
        return self.key.get("code") == drawing_code()


@dataclass(frozen=True, slots=True)
class StoredArrays:
    """All arrays that are remembered under one kind.

    Attributes:
        bytes: of its files.
    """

    path: Path
    kind: str
    files: int
    bytes: int


def stored_sets() -> list[StoredSet]:
    """The support sets, by their prompts."""
    found = []
    for note in (cache_home() / HOME).glob(f"*/{NOTE}"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            content = parse(regular(note).read_bytes())
            files = list(note.parent.iterdir())
            one = StoredSet(note.parent, len(content["pictures"]), _size(files), content["key"])
            found.append((str(one.key["prompt"]), note.parent, one))
    return [one for _, _, one in sorted(found)]


def stored_arrays() -> Iterator[StoredArrays]:
    """What is remembered besides, by kind."""
    for folder in sorted(cache_home().glob("*/")):
        if folder.name != HOME:
            files = list(folder.glob("*.npz"))
            yield StoredArrays(folder, folder.name, len(files), _size(files))


def model_of(part: str) -> str:
    """The model, of whose parts' checkpoints one is named ``"owner/model/part"``."""
    return "/".join(part.split("/")[:2])


def _size(files: list[Path]) -> int:
    return sum(path.stat().st_size for path in files)
