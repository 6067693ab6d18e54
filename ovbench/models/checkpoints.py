"""Where weights come from: the miniatures in the package, or files on the Hugging Face hub."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ovbench.errors import UsageError
from ovbench.harness.protocol import CheckpointRecord

CONNECT_TIMEOUT_S = 5.0
"""Seconds to wait for the hub's first answer; without a network the user must hear soon."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A weight file on this machine and what a result says of it.

    Attributes:
        path: the weight file; what belongs to it (configuration, tokenizer) lies beside it.
    """

    path: Path
    record: CheckpointRecord


def packaged(role: str) -> Checkpoint:
    """The miniature that comes with the package, trained on the embedded world.

    Args:
        role: such as ``"clip"``.

    Raises:
        UsageError: this installation has none for the role.
    """
    folder = Path(str(files("ovbench"))) / "toyworld" / "weights" / role
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise UsageError(f"no packaged weights for {role}: {folder} is empty; reinstall ovbench")
    name = f"toyworld/{role}"
    return Checkpoint(weights[0], CheckpointRecord(role, name, None, sha256_of(weights[0])))


def from_hub(role: str, repository: str, names: Sequence[str]) -> Checkpoint:
    """A weight file from the local hub cache, downloaded first where it is not there.

    Args:
        role: such as ``"clip"``.
        repository: ``"owner/name"``, or ``"owner/name@revision"`` to pin a branch, tag or
            commit.
        names: file names in order of preference; the first one that exists is taken.

    Raises:
        UsageError: neither cached nor downloadable; says how to fetch it.
    """
    repository, _, pin = repository.partition("@")
    path = _cached(repository, names, pin or None) or _download(repository, names, pin or None)
    record = CheckpointRecord(role, repository, _commit(path), sha256_of(path))
    return Checkpoint(path, record)


def sha256_of(path: Path) -> str:
    """The digest of a file's content, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cached(repository: str, names: Sequence[str], pin: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for name in names:
        found = try_to_load_from_cache(repository, name, revision=pin)
        if isinstance(found, str):
            return Path(found)
    return None


def _download(repository: str, names: Sequence[str], pin: str | None) -> Path:
    from huggingface_hub import HfApi, hf_hub_download

    try:
        # One question without retries: hf_hub_download alone retries for half a minute.
        info = HfApi().model_info(repository, revision=pin, timeout=CONNECT_TIMEOUT_S)
        existing = {file.rfilename for file in info.siblings or ()}
        name = next(name for name in names if name in existing)
        # By branch, not by commit: only then does the cache remember what "main" is.
        return Path(hf_hub_download(repository, name, revision=pin))
    except StopIteration:
        reason = "the repository has no such file"
    except Exception as error:  # the hub's HTTP library differs between versions
        reason = str(error).strip().split("\n", 1)[0]
    raise UsageError(_advice(repository, names, pin, reason))


def _advice(repository: str, names: Sequence[str], pin: str | None, reason: str) -> str:
    revision = f" --revision {pin}" if pin else ""
    return (
        f"weights {repository} ({' or '.join(names)}) are not in the Hugging Face cache and the "
        f"download failed ({reason}); run `hf download {repository} {names[0]}{revision}` on a "
        "machine with network and point HF_HOME at its cache, or use --checkpoints toy"
    )


def _commit(path: Path) -> str | None:
    """The commit in ``.../snapshots/<commit>/<file>``, the layout of the hub cache."""
    parts = path.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts else None
