"""Where weights come from: the package's miniatures, the hub, or a file the authors publish."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.weights import hub
from ovbench.models.weights.catalogue import look_up
from ovbench.models.weights.digests import noted_sha256, sha256_of
from ovbench.models.weights.obtain import obtain
from ovbench.models.weights.packaged import instead_of, packaged_only, weights_of


@dataclass(frozen=True, slots=True)
class Located:
    """A checkpoint on this machine and what a result says of it.

    Attributes:
        path: a folder of weights, configuration and tokenizer as ``from_pretrained`` reads
            it, or the one file that the authors publish.
        records: one per weight file.
        weights: these files.
    """

    path: Path
    records: tuple[CheckpointRecord, ...]
    weights: tuple[Path, ...] = ()


def locate(role: str, name: str, runtime: Runtime) -> Located:
    """Find a checkpoint on this machine, downloading it first where it is missing.

    Args:
        role: what it is for, such as ``"blip"``.
        name: in :mod:`ovbench.models.weights.catalogue`, such as ``"blip_flickr"``, or a hub id
            ``"owner/name"``, optionally with ``@revision`` (a branch, tag or commit).
        runtime: its ``checkpoints`` decide between this and the packaged miniature.

    Raises:
        UsageError: unknown name, or neither here nor downloadable; says how to fetch it.
    """
    if packaged_only(runtime):
        return packaged(role)
    found = obtain(look_up(role, name), instead_of(role))
    if isinstance(found, Path):
        record = CheckpointRecord(role, found.name, None, noted_sha256(found))
        return Located(found, (record,), (found,))
    weights = tuple(found.weights)
    records = (_record(role, found.name, found.commit, file, found.path) for file in weights)
    return Located(found.path, tuple(records), weights)


def packaged(role: str) -> Located:
    """The miniature that comes with the package, trained on the embedded world.

    Raises:
        UsageError: this installation has none for the role.
    """
    folder, weights = weights_of(role)
    name = f"toyworld/{role}"
    records = tuple(_record(role, name, None, file, folder) for file in weights)
    return Located(folder, records, tuple(weights))


def _record(role: str, name: str, commit: str | None, file: Path, root: Path) -> CheckpointRecord:
    part = "/".join((name, *file.relative_to(root).parent.parts))
    return CheckpointRecord(role, part, commit, hub.sha256_in_cache(file) or sha256_of(file))
