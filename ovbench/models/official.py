"""Single files that authors publish on their own servers, kept where torch.hub keeps its own.

A download goes to ``<name>.part`` beside the file, is continued where an earlier one broke
off, and gets the file's name only when its digest is right.
"""

from __future__ import annotations

import os
import shlex
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from rich.console import Console
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

from ovbench.errors import UsageError
from ovbench.models.catalogue import OfficialFile
from ovbench.models.digests import note_sha256, noted_sha256, sha256_of

TIMEOUT_S = 10.0
"""Seconds without a byte after which a download has failed."""

_PIECE = 1 << 20
_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = 206, 416


def fetch(file: OfficialFile) -> Path:
    """The file on this machine, downloaded first where it is missing.

    Raises:
        UsageError: neither here nor downloadable, or not what it should be.
    """
    path = path_of(file)
    if not path.exists():
        _download(file, path)
    if noted_sha256(path) != file.sha256:
        raise UsageError(
            f"{path} is not what {file.url} should be (SHA-256 {file.sha256}): delete it, and "
            "the next run downloads it again"
        )
    return path


def path_of(file: OfficialFile) -> Path:
    """Where the file lies or will lie: ``torch.hub.get_dir()/checkpoints``, without torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = Path(os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))).expanduser()
    return home / "hub" / "checkpoints" / file.name


def _download(file: OfficialFile, path: Path) -> None:
    from filelock import FileLock
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise UsageError(_advice(file, path, "HF_HUB_OFFLINE is set"))
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Of several processes that start together, one downloads and the others wait for it.
        with FileLock(path.with_name(f"{path.name}.lock")):
            if not path.exists():
                _fill(part, file)
                _accept(part, path, file)
    except (OSError, HTTPException) as error:
        raise UsageError(_advice(file, path, str(error))) from None


def _fill(part: Path, file: OfficialFile) -> None:
    """Download what is missing of the file."""
    start = part.stat().st_size if part.exists() else 0
    try:
        response = _open(file.url, start)
    except HTTPError as error:
        if error.code != _RANGE_NOT_SATISFIABLE:
            raise
        return  # nothing is missing, or the part is of something else: the digest tells
    with response:
        continued = response.status == _PARTIAL_CONTENT
        start = start if continued else 0
        with part.open("ab" if continued else "wb") as out:
            _copy(response, out, start, file.name)


def _open(url: str, start: int) -> HTTPResponse:
    headers = {"Range": f"bytes={start}-"} if start else {}
    response: HTTPResponse = urlopen(Request(url, headers=headers), timeout=TIMEOUT_S)
    return response


def _copy(response: HTTPResponse, out: IO[bytes], start: int, name: str) -> None:
    rest = response.length  # of this answer; None where the server does not say
    total = None if rest is None else start + rest
    done = start
    with _progress() as progress:
        task = progress.add_task(name, total=total, completed=start)
        while piece := response.read(_PIECE):
            done += out.write(piece)
            progress.update(task, completed=done)
    if total is not None and done < total:
        raise OSError(f"it broke off after {done} of {total} bytes; the next run continues")


def _progress() -> Progress:
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=Console(stderr=True))


def _accept(part: Path, path: Path, file: OfficialFile) -> None:
    found = sha256_of(part)
    if found != file.sha256:
        part.unlink()
        raise UsageError(
            f"the download of {file.url} was discarded: its SHA-256 is {found} and should be "
            f"{file.sha256}; run again, and if that does not help, fetch it on another network"
        )
    part.replace(path)
    note_sha256(path, found)


def _advice(file: OfficialFile, path: Path, reason: str) -> str:
    where = shlex.quote(str(path))
    return (
        f"weights {file.name} are not at {path} and the download failed ({reason}); run "
        f"`curl -L --create-dirs -o {where} {file.url}` on a machine with network and bring the "
        "file there, or use --checkpoints toy"
    )
