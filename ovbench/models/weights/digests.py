"""SHA-256 of weight files, which take seconds to read and seldom change."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from ovbench.errors import OvbenchError
from ovbench.harness.files.atomic import replacing
from ovbench.harness.files.download import digest_of
from ovbench.harness.files.json_files import parse
from ovbench.harness.files.regular import regular

_SHA256 = re.compile(r"[0-9a-f]{64}")


def sha256_of(path: Path) -> str:
    """The digest of a file's content, read in pieces."""
    return digest_of(path, "sha256")


def noted_sha256(path: Path) -> str:
    """The digest of a file's content, read once and noted beside it."""
    sha256 = current_sha256(path)
    if _noted(path) != _state(path, sha256):
        note_sha256(path, sha256)
    return sha256


def current_sha256(path: Path) -> str:
    """The digest of a file's content: the noted one if the file has not changed, else read."""
    recorded = recorded_sha256(path)
    if recorded is not None and _noted(path) == _state(path, recorded):
        return recorded
    return sha256_of(path)


def recorded_sha256(path: Path) -> str | None:
    """The noted digest, of what lay there when it was noted; None where nothing was."""
    sha256 = _noted(path).get("sha256")
    return sha256 if isinstance(sha256, str) and _SHA256.fullmatch(sha256) else None


def note_sha256(path: Path, sha256: str) -> None:
    """Note a digest beside its file; a folder that cannot be written to has no notes."""
    with suppress(OvbenchError), replacing(note_of(path)) as temporary:
        temporary.write_text(json.dumps(_state(path, sha256)))


def note_of(path: Path) -> Path:
    """``<name>.sha256.json``: the digest, and the file's size and time of change with it."""
    return path.with_name(f"{path.name}.sha256.json")


def _noted(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        noted = parse(regular(note_of(path)).read_bytes())
        return noted if isinstance(noted, dict) else {}
    return {}


def _state(path: Path, sha256: str) -> dict[str, str | int]:
    status = path.stat()
    return {"sha256": sha256, "size": status.st_size, "mtime_ns": status.st_mtime_ns}
