"""Digests of many files, each read anew only where it changed.

::

    <cache>/digests/<digest of a folder's path>.json    what was read there before

A file is taken for what it was if its size, its two times and its place on the disk are the same.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from ovbench.errors import OvbenchError
from ovbench.harness.contract.progress import progress
from ovbench.harness.files.cache import cache_home
from ovbench.harness.files.json_files import read_json, write_json
from ovbench.harness.files.regular import regular

_HOME = "digests"
_THREADS = 4
# A file that was written so shortly ago may be written again without its times telling.
_SETTLED_S = 2


def digest_of_files(files: Iterable[tuple[str, Path]], title: str) -> str:
    """SHA-256, as hex, of what named files hold, wherever they lie.

    Args:
        files: with a name each; those that are missing count as such.
        title: what they are, for whoever watches.
    """
    named = list(files)
    digests = digests_of_files([path for _, path in named], title)
    return digest_of_digests((name, one) for (name, _), one in zip(named, digests, strict=True))


def digests_of_files(files: Sequence[Path], title: str) -> list[str]:
    """SHA-256, as hex, of what each of many files holds; empty where there is no file."""
    paths = [os.path.abspath(path) for path in files]
    digests = _digests(set(paths), title)
    return [digests[path] for path in paths]


def digest_of_digests(named: Iterable[tuple[str, str]]) -> str:
    """That of :func:`digest_of_files`, from names and what each file's digest is."""
    lines = (f"{name} {digest}" for name, digest in named)
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def _digests(paths: set[str], title: str) -> Mapping[str, str]:
    """By path; empty where there is no file."""
    stamps = {path: _stamp(path) for path in paths}
    book = _book(paths)
    known = _read(book)
    stale = [p for p in sorted(paths) if p not in known or known[p][:-1] != stamps[p]]
    if not stale:
        return {path: known[path][-1] for path in paths}
    with progress(title, len(stale)) as advance, ThreadPoolExecutor(_THREADS) as pool:
        for path, digest in zip(stale, pool.map(_digest, stale), strict=True):
            known[path] = [*stamps[path], digest]
            advance(1)
    found = {path: known[path][-1] for path in paths}
    settled = time.time_ns() - _SETTLED_S * 10**9
    old = {path: entry for path, entry in known.items() if max(entry[1:3], default=0) < settled}
    # Who cannot keep them, such as under a name that is no text, reads the files again.
    with suppress(OvbenchError, OSError, ValueError):
        book.parent.mkdir(parents=True, exist_ok=True)
        write_json(book, old)
    return found


def _stamp(path: str) -> list[int]:
    """What changes when a file does; nothing where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return []
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _digest(path: str) -> str:
    try:
        with regular(Path(path)).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return ""


def _book(paths: set[str]) -> Path:
    """Where the digests of files in one folder are kept."""
    folder = os.path.realpath(os.path.commonpath(paths)) if paths else ""
    name = hashlib.sha256(folder.encode(errors="surrogateescape")).hexdigest()
    return cache_home() / _HOME / f"{name}.json"


def _read(book: Path) -> dict[str, list[Any]]:
    with suppress(OvbenchError):
        content = read_json(book)
        if all(isinstance(e, list) and e and isinstance(e[-1], str) for e in content.values()):
            return content
    return {}
