"""The run directory.

::

    run.json              identity, written first, never changed
    records/rank-*.jsonl  one shard per process, appended to while running
    predictions/          label maps, if they were asked for
    result.json           written last, atomically

A process that is killed leaves at most one torn line at the end of its shard, which is
dropped when the run is resumed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovbench.errors import OvbenchError, UsageError
from ovbench.harness.atomic import replacing
from ovbench.harness.images import write_label
from ovbench.harness.lines import LineWriter, whole_lines
from ovbench.harness.protocol import LabelMap
from ovbench.harness.records import BadImage, ImageRecord, Record, Session, decode, encode

SCHEMA_VERSION = 2
"""Of ``result.json``; raised when its readers need what older ones do not have."""


def identity_digest(identity: Mapping[str, Any]) -> str:
    """SHA-256 of everything that can move a number, as hex."""
    text = json.dumps(identity, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def default_directory(method: str, dataset: str, digest: str) -> Path:
    """Where a run goes if its user does not say: ``runs/<method>-<dataset>-<id>``."""
    return Path("runs") / f"{method}-{dataset}-{digest[:12]}"


@dataclass(slots=True)
class RunRecords:
    """Everything the shards of a run hold, each image once."""

    images: dict[str, ImageRecord] = field(default_factory=dict)
    bad: dict[str, BadImage] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Take one record in; a good record of an image outdoes a bad one, in any order."""
        if isinstance(record, Session):
            self.sessions.append(record)
        elif isinstance(record, BadImage):
            if record.image not in self.images:
                self.bad[record.image] = record
        else:
            self.images.setdefault(record.image, record)
            self.bad.pop(record.image, None)


@dataclass(frozen=True, slots=True)
class RunStore:
    """A run directory."""

    path: Path

    def claim(self, identity: Mapping[str, Any]) -> None:
        """Make this the directory of the run ``identity``, or find that it already is.

        Raises:
            UsageError: the directory holds another run or cannot be written.
        """
        claim(self.path / "run.json", identity, "run")
        try:
            self.shards.mkdir(exist_ok=True)
        except OSError as error:
            raise UsageError(f"{self.path}: cannot be written ({error.strerror})") from None

    def identity(self) -> dict[str, Any] | None:
        """The identity in ``run.json``, None where there is no run."""
        return _identity(self.path / "run.json")

    @property
    def shards(self) -> Path:
        """The folder of the record shards."""
        return self.path / "records"

    def records(self) -> RunRecords:
        """Read every shard; torn last lines are left out."""
        records = RunRecords()
        for shard in sorted(self.shards.glob("rank-*.jsonl")):
            for record in _read_shard(shard):
                records.add(record)
        # Shards are read by rank; a resume by fewer processes is later than what they hold.
        records.sessions.sort(key=lambda session: session.started)
        return records

    def save_predictions(self, ids: Sequence[str], maps: Sequence[LabelMap]) -> None:
        """Keep label maps as ``predictions/<id>.png``; values index the vocabulary."""
        for name, label_map in zip(ids, maps, strict=True):
            path = self.path / "predictions" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_label(path, label_map)

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write ``result.json`` atomically."""
        write_json(self.path / "result.json", result)


class ShardWriter(LineWriter):
    """Appends records to one process's shard.

    Raises:
        OvbenchError: another process is writing the same shard.
    """

    def __init__(self, store: RunStore, rank: int) -> None:
        super().__init__(store.shards / f"rank-{rank}.jsonl")

    def append(self, records: Sequence[Record]) -> None:
        """Write records behind the others."""
        self.write("".join(map(encode, records)))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object atomically.

    Raises:
        ValueError: a number JSON does not have, such as not-a-number.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UsageError: unreadable, or not a JSON object; names the file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected a JSON object")
    return content


def claim(path: Path, identity: Mapping[str, Any], what: str) -> None:
    """Write an identity into a file of a directory, or find that it is already there.

    Args:
        path: of the file; its directory is made.
        identity: JSON-ready.
        what: the directory holds, such as "run".

    Raises:
        UsageError: the file holds another identity or cannot be written.
    """
    existing = _identity(path)
    if existing is None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"identity": identity})
        except OSError as error:
            raise UsageError(f"{path.parent}: cannot be written ({error.strerror})") from None
    elif existing != identity:
        changed = ", ".join(sorted(differences(existing, identity)))
        raise UsageError(
            f"{path.parent} holds another {what} (differs in: {changed}); "
            "give another --output or delete it"
        )


def _identity(path: Path) -> dict[str, Any] | None:
    return dict(read_json(path)["identity"]) if path.exists() else None


def _read_shard(path: Path) -> Iterator[Record]:
    for number, line in whole_lines(path):
        try:
            yield decode(line)
        except (ValueError, KeyError, TypeError):
            raise OvbenchError(f"{path}:{number}: not a record; delete that line") from None


def differences(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted names of the leaves in which two nested mappings differ."""
    for key in a.keys() | b.keys():
        x, y = a.get(key), b.get(key)
        if isinstance(x, dict) and isinstance(y, dict):
            yield from differences(x, y, f"{prefix}{key}.")
        elif x != y:
            yield f"{prefix}{key}"
