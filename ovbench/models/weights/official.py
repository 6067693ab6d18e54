"""Single files that authors publish on their own servers, kept where torch.hub keeps its own.

A download goes to ``<name>.part`` beside the file, is continued where an earlier one broke
off, and gets the file's name only when its digest is right.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from ovbench.errors import UsageError
from ovbench.harness.files.home import at_home
from ovbench.models.weights.catalogue import OfficialFile, size_in_words

if TYPE_CHECKING:
    from ovbench.harness.files.download import Download

State: TypeAlias = Literal["there", "missing", "differs"]
"""Of a file on this machine; one that differs is not what its digest says."""


def fetch(file: OfficialFile, instead: str = "", size: int | None = None) -> Path:
    """The file on this machine, downloaded first where it is missing.

    Args:
        instead: what else to advise where it cannot be had, behind a comma.
        size: in bytes, where it is known.

    Raises:
        UsageError: neither here nor downloadable, not what is published, or not what was
            recorded when it was first used.
    """
    path = path_of(file)
    if not path.exists():
        if file.by_hand:
            raise UsageError(f"{by_hand(file, size)}{instead}")
        _download(file, path, instead, size)
    _hold(file, path)
    return path


def state_of(file: OfficialFile) -> State:
    """Whether the file is on this machine, as far as that can be told."""
    from ovbench.models.weights.digests import current_sha256, noted_sha256

    path = path_of(file)
    if not path.exists():
        return "missing"
    # What is published outlasts the note, which may therefore be made anew.
    digest = noted_sha256 if file.sha256 else current_sha256
    expected = _expected(file, path)
    return "there" if expected is None or expected == digest(path) else "differs"


def path_of(file: OfficialFile) -> Path:
    """Where the file lies or will lie: ``torch.hub.get_dir()/checkpoints``, without torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = at_home(os.environ.get("TORCH_HOME", os.path.join(cache, "torch")))
    return home / "hub" / "checkpoints" / file.name


def by_hand(file: OfficialFile, size: int | None) -> str:
    """What a person has to do for a file that no program can fetch."""
    path = path_of(file)
    first = "fill in the form on" if file.form else f"download {file.name} from"
    then = f", download {file.name} from the address that it sends," if file.form else ""
    return (
        f"weights {file.name} ({size_in_words(size)}) are not at {path} and no program can fetch "
        f"them: {first} {file.url}{then} and put it into {path.parent}"
    )


def _download(file: OfficialFile, path: Path, instead: str, size: int | None) -> None:
    from filelock import FileLock
    from huggingface_hub import constants

    from ovbench.harness.files.atomic import no_room, ready_folder, unwritable
    from ovbench.harness.files.download import FAILURES, Download  # urllib's imports take long

    if constants.HF_HUB_OFFLINE:
        raise UsageError(_advice(file, path, size, "HF_HUB_OFFLINE is set") + instead)
    download = Download(file.url, path)
    ready_folder(path)
    try:
        # Of several processes that start together, one downloads and the others wait for it.
        with FileLock(path.with_name(f"{path.name}.lock")):
            if not path.exists():
                download.fill()
                _accept(download, file)
    except FAILURES as error:
        if isinstance(error, OSError) and no_room(error):
            raise unwritable(download.part, error) from None
        raise UsageError(_advice(file, path, size, str(error)) + instead) from None


def _accept(download: Download, file: OfficialFile) -> None:
    from ovbench.models.weights.digests import note_sha256, sha256_of

    found, expected = sha256_of(download.part), _expected(file, download.path)
    if expected not in (None, found):
        download.discard()
        raise UsageError(
            f"the download of {file.url} was discarded: its SHA-256 is {found} and should be "
            f"{expected}{_source(file, download.path)}; run again, and if that does not help, "
            "fetch it on another network"
        )
    download.accept()
    note_sha256(download.path, found)


def _hold(file: OfficialFile, path: Path) -> None:
    """Hold a file to what is published or was recorded of it, and record what was not.

    Raises:
        UsageError: it is another one.
    """
    from ovbench.models.weights.digests import current_sha256, noted_sha256

    expected = _expected(file, path)
    if expected not in (None, current_sha256(path)):
        raise UsageError(
            f"{path} is not what {file.url} should be (SHA-256 {expected}"
            f"{_source(file, path)}): delete it, and the next run "
            f"{'says where it is' if file.by_hand else 'downloads it again'}"
        )
    noted_sha256(path)


def _expected(file: OfficialFile, path: Path) -> str | None:
    from ovbench.models.weights.digests import recorded_sha256

    return file.sha256 or recorded_sha256(path)


def _source(file: OfficialFile, path: Path) -> str:
    """Where the digest is from, if its authors do not state it."""
    from ovbench.models.weights.digests import note_of

    if file.sha256:
        return ""
    return f", recorded at first use; if it was published anew, delete {note_of(path)} as well"


def _advice(file: OfficialFile, path: Path, size: int | None, reason: str) -> str:
    where = shlex.quote(str(path))
    return (
        f"weights {file.name} ({size_in_words(size)}) are not at {path} and the download failed "
        f"({reason}); run `curl -L --create-dirs -o {where} {file.url}` on a machine with network "
        "and bring the file there"
    )
