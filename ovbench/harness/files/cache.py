"""What takes long to make and depends on weights, vocabulary and settings alone is made once."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt

from ovbench.harness.contract.progress import progress
from ovbench.harness.files.code import code_of
from ovbench.harness.files.home import at_home
from ovbench.harness.files.regular import regular
from ovbench.harness.files.shared import UnwritableError, alone, array_bytes, array_of, sweep, write

_ABOUT = "about.json"


def cache_home() -> Path:
    """``$OVBENCH_CACHE``, else ``$XDG_CACHE_HOME/ovbench``, else ``~/.cache/ovbench``."""
    if own := os.environ.get("OVBENCH_CACHE"):
        return at_home(own)
    return at_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "ovbench"


def canonical(key: Mapping[str, Any]) -> bytes:
    """A JSON-ready mapping as text that only depends on its content."""
    return json.dumps(key, sort_keys=True, ensure_ascii=False).encode()


def digest_of_key(key: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON-ready mapping, as hex."""
    return hashlib.sha256(canonical(key)).hexdigest()


def remembered(
    kind: str,
    key: Mapping[str, Any],
    build: Callable[[], Mapping[str, npt.NDArray[Any]]],
    *,
    must_keep: bool = True,
    most_bytes: int | None = None,
) -> Mapping[str, npt.NDArray[Any]]:
    """Arrays from the cache, or built, kept and returned.

    Args:
        kind: what they are, in a word fit for a folder, such as ``"ovdiff-prototypes"``.
        key: everything that decides them, JSON-ready: digests of support sets and checkpoints,
            settings, precision, and a number that is raised when code elsewhere changes them.
            The source of the modules beside the one that builds is part of it by itself: who
            edits one of them is not given what the old ones made.
        build: makes them; one process at a time calls it for a key, and none where they are
            kept. Arrays of any shape and number, of numbers or bools.
        must_keep: False for what may rather be built each time than stop a run whose cache
            cannot be written to.
        most_bytes: of a kind that would fill a disk: beyond these, what was longest not asked
            for is removed when more is kept.

    Raises:
        UnwritableError: the cache is full or cannot be written to.
    """
    return _kept(kind, {**key, "code": code_of(build)}, build, must_keep, most_bytes)


def remembered_in_turn(
    kind: str,
    keys: Sequence[Mapping[str, Any]],
    build: Callable[[int], Mapping[str, npt.NDArray[Any]]],
    *,
    title: str | None,
    sizes: Sequence[int],
) -> list[Mapping[str, npt.NDArray[Any]]]:
    """As :func:`remembered`, piece by piece: whoever is killed has only lost the last one.

    A cache that cannot be written to costs time and nothing else.

    Args:
        keys: of every piece.
        build: makes the piece of an index. One process at a time calls it for a list of keys.
        title: what they are, for whoever watches; shown while some are made. None where what
            asks for them shows its own progress.
        sizes: how many of it are in every piece.
    """
    code = code_of(build)
    keys = [{**key, "code": code} for key in keys]
    paths = [_path(kind, key) for key in keys]
    found = _there(paths)
    if len(found) < len(keys):
        with ExitStack() as stack:
            with suppress(UnwritableError):
                whole = _path(kind, {"all": [path.stem for path in paths]})
                stack.enter_context(alone(whole, f"making {kind}"))
            found = _there(paths)
            missing = [i for i in range(len(keys)) if i not in found]
            advance = None
            if title is not None:
                advance = stack.enter_context(progress(title, sum(sizes[i] for i in missing)))
            for i in missing:
                found[i] = _kept(kind, keys[i], partial(build, i), must_keep=False)
                if advance is not None:
                    advance(sizes[i])
    return [found[i] for i in range(len(keys))]


def _there(paths: Sequence[Path]) -> dict[int, Mapping[str, npt.NDArray[Any]]]:
    """The pieces that are kept, by their indices."""
    found = {i: _read(path) for i, path in enumerate(paths)}
    return {i: piece for i, piece in found.items() if piece is not None}


def _path(kind: str, key: Mapping[str, Any]) -> Path:
    return cache_home() / kind / f"{digest_of_key(key)}.npz"


def _kept(
    kind: str,
    key: Mapping[str, Any],
    build: Callable[[], Mapping[str, npt.NDArray[Any]]],
    must_keep: bool,
    most_bytes: int | None = None,
) -> Mapping[str, npt.NDArray[Any]]:
    """See :func:`remembered`; the key has all in it."""
    path = _path(kind, key)
    found = _read(path)
    if found is not None:
        if most_bytes is not None:
            with suppress(OSError):
                os.utime(path)
        return found
    try:
        with alone(path, f"making {kind}"):
            found = _read(path)
            if found is None:
                found = dict(build())
                sweep(path.parent, path.name)
                write(path, _packed(key, found))
        if most_bytes is not None:
            _make_room(path.parent, most_bytes)
    except UnwritableError:
        if must_keep:
            raise
    return dict(build()) if found is None else found


def _make_room(folder: Path, most_bytes: int) -> None:
    """Remove files, those first that were longest not asked for, until the others fit."""
    sizes = {}
    for path in folder.glob("*.npz"):
        with suppress(OSError):  # another process made room, too
            status = path.stat()
            sizes[path] = (status.st_mtime_ns, status.st_size)
    total = sum(size for _, size in sizes.values())
    for path in sorted(sizes, key=lambda one: sizes[one]):
        if total <= most_bytes:
            return
        for gone in (path, path.with_name(f"{path.name}.lock")):
            with suppress(OSError):
                gone.unlink(missing_ok=True)
        total -= sizes[path][1]


def _packed(key: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """As ``np.savez`` does it, with the key for those who wonder what a file is."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(_ABOUT, canonical({"key": key, "arrays": list(arrays)}))
        for name, array in arrays.items():
            archive.writestr(f"{name}.npy", array_bytes(array))
    return out.getvalue()


def _read(path: Path) -> dict[str, npt.NDArray[Any]] | None:
    """What a file holds, or None where there is none, it is damaged or another one's."""
    try:
        with zipfile.ZipFile(regular(path)) as archive:
            # Whole members: only at its end a member's checksum is compared.
            contents = {name: archive.read(name) for name in archive.namelist()}
        # Damage at the file's end can hide members.
        about = json.loads(contents[_ABOUT])
        if digest_of_key(about["key"]) != path.stem:
            return None
        return {name: array_of(contents[f"{name}.npy"]) for name in about["arrays"]}
    except Exception:  # damage shows in many ways, and is mended in one
        return None
