"""SHA-256 of weight files, which take seconds to read and seldom change."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from ovbench.harness.files.download import digest_of
from ovbench.harness.files.json_files import parse
from ovbench.harness.files.regular import regular


def sha256_of(path: Path) -> str:
    """The digest of a file's content, read in pieces."""
    return digest_of(path, "sha256")


def noted_sha256(path: Path) -> str:
    """The digest of a file's content, read once and noted beside it.

    The note, ``<name>.sha256.json``, holds as long as the file's size and time of change do.
    """
    with suppress(OSError, ValueError, TypeError, KeyError):
        noted = parse(regular(_note(path)).read_bytes())
        if noted == _state(path, sha256 := str(noted["sha256"])):
            return sha256
    sha256 = sha256_of(path)
    note_sha256(path, sha256)
    return sha256


def note_sha256(path: Path, sha256: str) -> None:
    """Note a digest beside its file; a folder that cannot be written to has no notes."""
    with suppress(OSError):
        _note(path).write_text(json.dumps(_state(path, sha256)))


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256.json")


def _state(path: Path, sha256: str) -> dict[str, str | int]:
    status = path.stat()
    return {"sha256": sha256, "size": status.st_size, "mtime_ns": status.st_mtime_ns}
