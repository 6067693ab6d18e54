"""Single files that authors publish on their own servers, kept where torch.hub keeps its own.

A download goes to ``<name>.part`` beside the file, is continued where an earlier one broke
off, and gets the file's name only when its digest is right.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from ovbench.errors import UsageError
from ovbench.models.weights.catalogue import OfficialFile

if TYPE_CHECKING:
    from ovbench.harness.files.download import Download


def fetch(file: OfficialFile, instead: str = "") -> Path:
    """The file on this machine, downloaded first where it is missing.

    Args:
        instead: what else to advise where it cannot be had, behind a comma.

    Raises:
        UsageError: neither here nor downloadable, or not what it should be.
    """
    from ovbench.models.weights.digests import noted_sha256

    path = path_of(file)
    if not path.exists():
        _download(file, path, instead)
    if file.sha256 not in (None, noted_sha256(path)):
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


def _download(file: OfficialFile, path: Path, instead: str) -> None:
    from filelock import FileLock
    from huggingface_hub import constants

    from ovbench.harness.files.download import FAILURES, Download  # urllib's imports take long

    if constants.HF_HUB_OFFLINE:
        raise UsageError(_advice(file, path, "HF_HUB_OFFLINE is set") + instead)
    download = Download(file.url, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Of several processes that start together, one downloads and the others wait for it.
        with FileLock(path.with_name(f"{path.name}.lock")):
            if not path.exists():
                download.fill()
                _accept(download, file)
    except FAILURES as error:
        raise UsageError(_advice(file, path, str(error)) + instead) from None


def _accept(download: Download, file: OfficialFile) -> None:
    from ovbench.models.weights.digests import note_sha256, sha256_of

    found = sha256_of(download.part)
    if file.sha256 not in (None, found):
        download.discard()
        raise UsageError(
            f"the download of {file.url} was discarded: its SHA-256 is {found} and should be "
            f"{file.sha256}; run again, and if that does not help, fetch it on another network"
        )
    download.accept()
    note_sha256(download.path, found)


def _advice(file: OfficialFile, path: Path, reason: str) -> str:
    where = shlex.quote(str(path))
    return (
        f"weights {file.name} are not at {path} and the download failed ({reason}); run "
        f"`curl -L --create-dirs -o {where} {file.url}` on a machine with network and bring the "
        "file there"
    )
