"""Folders on the Hugging Face hub: from its cache on this machine, or downloaded into it.

The cache's layout is public: ``models--owner--name/refs/<branch>`` holds a commit, and
``snapshots/<commit>/<file>`` is a link to ``blobs/<etag>``, made when the file is complete.
https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovbench.errors import UsageError
from ovbench.harness.contract.progress import say
from ovbench.harness.files.regular import regular
from ovbench.models.weights.catalogue import Need, Repository, size_in_words

CONNECT_TIMEOUT_S = 5.0
"""Seconds to wait for the hub's first answer; without a network the user must hear soon."""
WEIGHTS = (".safetensors", ".bin")
"""Suffixes of weight files."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a repository held at one commit, as far as it was asked for.

    Attributes:
        name: of the repository, ``"owner/name"``.
        path: ``.../snapshots/<commit>``.
        files: the names that met the needs, relative to ``path``.
    """

    name: str
    path: Path
    files: tuple[str, ...]

    @property
    def commit(self) -> str:
        return self.path.name

    @property
    def weights(self) -> list[Path]:
        return [self.path / name for name in self.files if name.endswith(WEIGHTS)]


def fetch(repository: Repository, instead: str = "", size: int | None = None) -> Snapshot:
    """What is needed of a repository, downloaded first where something is missing.

    Args:
        instead: what else to advise, behind a comma.
        size: of the weights in bytes, where it is known.

    Raises:
        UsageError: neither cached nor downloadable; says how to fetch it.
    """
    found = cached(repository)
    if found is None:
        reason = _download(repository)
        found = cached(repository)
    if found is None:
        raise UsageError(_advice(repository, size, reason) + instead)
    return found


def cached(repository: Repository) -> Snapshot | None:
    """The snapshot in the cache if it has all that is needed; asks nobody."""
    name, revision = split(repository.id)
    home = home_of(repository)
    branch = home / "refs" / (revision or "main")
    commit = regular(branch).read_text().strip() if branch.is_file() else revision
    if not commit:
        return None
    path = home / "snapshots" / commit
    files, missing = choose(repository.needs, lambda file: (path / file).is_file())
    return None if missing else Snapshot(name, path, files)


def home_of(repository: Repository) -> Path:
    """The repository's folder in the cache, whether or not it is there."""
    from huggingface_hub import constants

    name, _ = split(repository.id)
    return Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"


def choose(
    needs: Sequence[Need], exists: Callable[[str], bool]
) -> tuple[tuple[str, ...], tuple[Need, ...]]:
    """Meet every need by its first alternative whose files all exist.

    Returns:
        The files, and the needs that cannot be met.
    """
    met = {need: next((files for files in need if all(map(exists, files))), None) for need in needs}
    files = tuple(name for chosen in met.values() for name in chosen or ())
    return files, tuple(need for need, chosen in met.items() if chosen is None)


def split(identifier: str) -> tuple[str, str | None]:
    """``"owner/name@revision"`` as name and revision, which is None where none is given."""
    name, _, revision = identifier.partition("@")
    return name, revision or None


def sha256_in_cache(path: Path) -> str | None:
    """The digest of a snapshot's file as its blob's name tells it, or None where it does not.

    A blob is named by the hub's etag: the SHA-256 of a file in large file storage, the SHA-1
    of the git object otherwise. Where the file system has no links there are no blobs.
    """
    blob = Path(os.readlink(path)).name if path.is_symlink() else ""
    return blob if _SHA256.fullmatch(blob) else None


def _download(repository: Repository) -> str:
    """Try to fill the cache; returns what is wrong if it is not complete then."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    name, revision = split(repository.id)
    try:
        # One question without retries: the downloading functions retry for half a minute.
        info = HfApi().model_info(name, revision=revision, timeout=CONNECT_TIMEOUT_S)
        files, missing = choose(
            repository.needs, {sibling.rfilename for sibling in info.siblings or ()}.__contains__
        )
        if missing:
            return f"the repository has no {' and no '.join(map(_any_of, missing))}"
        # Weights last: where they are, an interrupted download has left nothing out.
        say(f"fetching {name} from the Hugging Face hub")
        if not sys.stderr.isatty():  # a log gets the line, not thousands of bars
            disable_progress_bars()
        for part in filter(None, (_not_weights(files), list(files))):
            # By branch, not by commit: only then does the cache remember what "main" is.
            snapshot_download(name, revision=revision, allow_patterns=part)
    except Exception as error:  # the hub's HTTP library differs between versions
        return str(error).strip().split("\n", 1)[0]
    return "it is incomplete"


def _not_weights(files: Sequence[str]) -> list[str]:
    return [name for name in files if not name.endswith(WEIGHTS)]


def wanted(repository: Repository) -> str:
    """The files that are needed of it, in words."""
    return ", ".join(_any_of(need) for need in repository.needs if () not in need)


def _advice(repository: Repository, size: int | None, reason: str) -> str:
    name, pin = split(repository.id)
    at, revision = (f"@{pin}", f" --revision {pin}") if pin else ("", "")
    command = f"hf download {name} {' '.join(_likely_files(repository))}{revision}"
    return (
        f"weights {name}{at} ({wanted(repository)}; {size_in_words(size)}) are not in the Hugging "
        f"Face cache and the download failed ({reason}); {_permission(repository)}run `{command}` "
        "on a machine with network and point HF_HOME at its cache"
    )


def _permission(repository: Repository) -> str:
    """What has to be done first where a page gives nothing out to strangers."""
    if not repository.gated:
        return ""
    page = f"https://huggingface.co/{split(repository.id)[0]}"
    return f"accept the licence on {page}, put your token into HF_TOKEN or `hf auth login`, and "


def _likely_files(repository: Repository) -> Iterator[str]:
    """The preferred files that the repository is known or expected to have."""
    for need in repository.needs:
        pickled = [files for files in need if not any(f.endswith(".safetensors") for f in files)]
        yield from (pickled if repository.pickled else need)[0]


def _any_of(need: Need) -> str:
    return " or ".join(" with ".join(files) for files in need)
