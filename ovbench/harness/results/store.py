"""The run directory.

::

    run.json              identity and images, written first, never changed
    records/rank-*.jsonl  one shard per process, appended to while running
    records/dropped.jsonl lines that ``ovbench rescore --drop-bad`` took out of them
    predictions/          label maps, if they were asked for
    result.json           written last, atomically

A process that is killed leaves at most one torn line at the end of its shard, which is
dropped when the run is resumed. Every other line is checked when it is read: one that is
damaged, or that is not of this run, stops whatever reads it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovbench.errors import OvbenchError, UsageError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.files.atomic import ready_folder, replacing
from ovbench.harness.files.below import below, file_name
from ovbench.harness.files.images import write_label
from ovbench.harness.files.json_files import (
    SEAL,
    digest_of,
    is_sealed,
    read_json,
    sealed,
    write_json,
)
from ovbench.harness.files.lines import LineWriter, line_at, whole_lines
from ovbench.harness.results.older import identity_of_older_version
from ovbench.harness.results.record_checks import Expected
from ovbench.harness.results.records import ImageRecord, Record, decode, encode
from ovbench.harness.results.run_records import Line, RunRecords

SCHEMA_VERSION = 3
"""Of run directories; raised when their readers need what older ones do not have."""

# Records that are checked at once; the numbers of more are too many for fast memory.
_TOGETHER = 32
_RUN_ADVICE = "or measure again with --fresh"
# To those who only read a run, and were given no --output.
_READERS_ADVICE = "measure it again: ovbench run … --output {} --fresh"


def essence(identity: Mapping[str, Any]) -> dict[str, Any]:
    """An identity without the names of folders and files, whose content it knows by digests.

    What weights were trained with moves no number, either: its digests tell the weights.
    """
    bare = {name: value for name, value in identity.items() if name != "trained"}
    if "vocabulary" in bare:
        bare["vocabulary"] = _without(bare["vocabulary"], "source", "known_as")
    if "prompts" in bare:
        bare["prompts"] = _without(bare["prompts"], "source", "pictures")
    if "files" in bare:
        bare["dataset"] = _without(bare["dataset"], "variant")
    return bare


def _without(content: Any, *names: str) -> Any:
    if not isinstance(content, Mapping):  # nobody promises what a foreign file holds
        return content
    return {name: value for name, value in content.items() if name not in names}


def identity_digest(identity: Mapping[str, Any]) -> str:
    """SHA-256 of everything that can move a number, as hex."""
    return digest_of(essence(identity))


def default_directory(method: str, dataset: str, digest: str) -> Path:
    """Where a run goes if its user does not say: ``runs/<method>-<dataset>-<id>``."""
    return Path("runs") / f"{file_name(method)}-{file_name(dataset)}-{digest[:12]}"


@dataclass(frozen=True, slots=True)
class RunStore:
    """A run directory."""

    path: Path

    def claim(self, identity: Mapping[str, Any], images: Sequence[str]) -> None:
        """Make this the directory of the run ``identity``, or find that it already is.

        Args:
            images: of the run, in its order.

        Raises:
            UsageError: the directory holds another run or cannot be written.
        """
        claim(self.path / "run.json", identity, "run", _RUN_ADVICE, images=list(images))
        ready_folder(self.shards / "rank-0.jsonl")

    def withdraw(self, rank: int) -> bool:
        """Take a process's shard back if it has no image, and the run with the last shard.

        Returns:
            Whether the run is gone.
        """
        shard = self.shards / f"rank-{rank}.jsonl"
        # Another one's shard is there, or one not to touch.
        with suppress(OSError, ValueError, OvbenchError):
            lines, key = whole_lines(shard) if shard.exists() else (), self.key
            if any(isinstance(decode(line, key), ImageRecord) for _, line in lines):
                return False
            shard.unlink(missing_ok=True)
            self.shards.rmdir()
            (self.path / "run.json").unlink(missing_ok=True)
            return True
        return False

    def identity(self) -> dict[str, Any] | None:
        """The identity in ``run.json``, None where there is no run.

        Raises:
            UsageError: the file is damaged, or was changed.
        """
        content = self._claimed()
        return None if content is None else dict(content["identity"])

    @property
    def key(self) -> bytes:
        """What the checksums of the run's records begin with: no other run has them.

        Raises:
            UsageError: no run is there, or its file is damaged.
        """
        return _key_of(self._about())

    @property
    def shards(self) -> Path:
        """The folder of the record shards."""
        return self.path / "records"

    @property
    def predictions(self) -> Path:
        """The folder of the kept label maps."""
        return self.path / "predictions"

    def records(self) -> RunRecords:
        """Read every shard; torn last lines are left out.

        Raises:
            UsageError: a line is damaged or not of this run; names it, and what takes it out.
        """
        mend = f"ovbench rescore --drop-bad {shlex.quote(str(self.path))}"

        def refuse(shard: Path, number: int, problem: str) -> None:
            raise UsageError(
                f"{shard}:{number}: {problem}; `{mend}` takes such lines out, and the run's "
                "own command then measures what is missing"
            )

        records = self._read(refuse)
        # Shards are read by rank; a resume by fewer processes is later than what they hold.
        records.sessions.sort(key=lambda session: session.started)
        return records

    def drop_bad(self) -> list[str]:
        """Take the lines that :meth:`records` refuses out of the shards, and keep them apart.

        Returns:
            Where each was, and what is wrong with it.

        Raises:
            OvbenchError: a process is writing the shard.
        """
        bad: dict[Path, set[int]] = {}
        reasons: list[str] = []

        def note(shard: Path, number: int, problem: str) -> None:
            bad.setdefault(shard, set()).add(number)
            reasons.append(f"{shard}:{number}: {problem}")

        self._read(note)
        for shard, numbers in bad.items():
            with (
                LineWriter(shard),
                LineWriter(self.shards / "dropped.jsonl") as dropped,
                replacing(shard) as temporary,
                temporary.open("wb") as kept,
            ):
                for number, line in whole_lines(shard):
                    (dropped if number in numbers else kept).write(line + b"\n")
                dropped.sync()
        return reasons

    def _read(self, refuse: Callable[[Path, int, str], None]) -> RunRecords:
        """Every record with which nothing is wrong.

        Args:
            refuse: is told the shard, the number of the line and what is wrong of all others.
        """
        about = self._about()
        key, expected = _key_of(about), _expected_of(about)

        def again(line: Line) -> Record:
            return decode(line_at(line.shard, line.start), key, summed=expected.summed)

        records = RunRecords(expected.labels, again)

        def take(waiting: Sequence[tuple[int, Line, Record]]) -> None:
            """Take records in; if one of them cannot be, each is looked at by itself."""
            try:
                expected.check([record for *_, record in waiting])
                sound = True
            except ValueError:
                sound = False
            for number, line, record in waiting:
                try:
                    if not sound:
                        expected.check([record])
                    records.add(record, line)
                except ValueError as error:
                    refuse(line.shard, number, str(error))

        for shard in sorted(self.shards.glob("rank-*.jsonl")):
            start, waiting = 0, list[tuple[int, Line, Record]]()
            for number, text in whole_lines(shard):
                try:
                    record = decode(text, key, summed=expected.summed)
                    waiting.append((number, Line(shard, start), record))
                except ValueError as error:
                    take(waiting)
                    waiting = []
                    refuse(shard, number, str(error))
                if len(waiting) == _TOGETHER:
                    take(waiting)
                    waiting = []
                start += len(text) + 1
            take(waiting)
        return records

    def _claimed(self) -> dict[str, Any] | None:
        path = self.path / "run.json"
        advice = _READERS_ADVICE.format(self.path)
        content = _claimed(path, advice)
        if content is None or SEAL in content:
            return content
        with _advising(advice):
            return {**content, "identity": identity_of_older_version(path, content["identity"])}

    def _about(self) -> dict[str, Any]:
        content = self._claimed()
        if content is None:
            raise UsageError(f"{self.path}: no run here; a run directory holds run.json")
        return content

    def save_predictions(self, ids: Sequence[str], maps: Sequence[LabelMap]) -> None:
        """Keep label maps as ``predictions/<id>.png``; values index the vocabulary.

        Raises:
            OvbenchError: there is no room for them.
        """
        for name, label_map in zip(ids, maps, strict=True):
            path = below(self.predictions, f"{name}.png")
            ready_folder(path)
            write_label(path, label_map)

    def result(self) -> dict[str, Any] | None:
        """What ``result.json`` holds; None where it is missing, damaged or edited.

        Records make it again. Those of older versions have no digest and are believed.
        """
        try:
            content = read_json(self.path / "result.json")
        except UsageError:
            return None
        older = content.get("schema_version") in range(1, SCHEMA_VERSION)
        return content if is_sealed(content) or older else None

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write ``result.json`` atomically."""
        write_json(self.path / "result.json", result)


def _key_of(about: Mapping[str, Any]) -> bytes:
    """What the checksums of a run's records begin with, from its ``run.json``."""
    return identity_digest(about["identity"]).encode()


def _expected_of(about: Mapping[str, Any]) -> Expected:
    images = about.get("images")
    return Expected(
        len(about["identity"]["vocabulary"]["names"]),
        None if images is None else frozenset(images),
        SEAL in about,
    )


class ShardWriter(LineWriter):
    """Appends records to one process's shard.

    Raises:
        OvbenchError: another process is writing the same shard.
    """

    def __init__(self, store: RunStore, rank: int) -> None:
        super().__init__(store.shards / f"rank-{rank}.jsonl")
        self._key = store.key

    def append(self, records: Sequence[Record]) -> None:
        """Write records behind the others.

        Raises:
            OvbenchError: there is no room for them.
        """
        self.write(b"".join(encode(record, self._key) for record in records))


def files_below(folder: Path, name: str) -> list[Path]:
    """The files of a name in a folder and in all below it, in order; hidden folders are no runs.

    Raises:
        UsageError: the folder cannot be read.
    """
    try:
        found = sorted(folder.rglob(name))
    except OSError as error:
        raise UsageError(f"{folder}: cannot be read ({error.strerror})") from None
    return [path for path in found if not _is_hidden(path.relative_to(folder))]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def claim(
    path: Path,
    identity: Mapping[str, Any],
    what: str,
    advice: str = "or delete it",
    **about: Any,
) -> None:
    """Write an identity into a file of a directory, or find that it is already there.

    Args:
        path: of the file; its directory is made.
        identity: JSON-ready.
        what: the directory holds, such as "run".
        advice: what to do but take another directory.
        about: what follows from the identity and is kept beside it; JSON-ready.

    Raises:
        UsageError: the file holds another identity, is damaged or cannot be written.
    """
    found = _claimed(path, f"give another --output {advice}")
    if found is None:
        ready_folder(path)
        content = {"schema_version": SCHEMA_VERSION, "identity": identity, **about}
        write_json(path, sealed(content))
    elif (known := essence(found["identity"])) != essence(identity):
        named = ", ".join(sorted(map(_in_words, differences(known, essence(identity)))))
        raise UsageError(
            f"{path.parent} holds another {what} (differs in: {named}); "
            f"give another --output {advice}"
        )


def missing_folders(path: Path) -> list[Path]:
    """Those that making a folder makes, the innermost first."""
    return [folder for folder in (path, *path.parents) if not os.path.exists(folder)]


@contextmanager
def nothing_left_behind(made: Sequence[Path], withdraw: Callable[[], bool]) -> Iterator[None]:
    """Work that fails before it has anything to keep leaves no folder.

    Args:
        made: the folders that were made for it, the innermost first.
        withdraw: removes its files if there is nothing in them to keep; says whether.
    """
    try:
        yield
    except BaseException:
        if withdraw():
            for folder in made:
                with suppress(OSError):  # it holds something else
                    folder.rmdir()
        raise


def _in_words(leaf: str) -> str:
    """What a reader of a message calls a part of an identity."""
    part, _, rest = leaf.partition(".")
    return (
        f"{part} of {rest}"
        if part in {"code", "state"} and rest
        else leaf.replace("files.", "the ")
    )


def _claimed(path: Path, advice: str) -> dict[str, Any] | None:
    """What a file says of its directory, None where there is no such file."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    with _advising(advice):
        content = read_json(path)
        if (SEAL in content or "schema_version" in content) and not is_sealed(content):
            raise UsageError(f"{path}: not as it was written, its digest differs")
        if not isinstance(content.get("identity"), dict):
            raise UsageError(f"{path}: not written by ovbench")
    return content


@contextmanager
def _advising(advice: str) -> Iterator[None]:
    """What is wrong with a directory's file is said with what to do about it."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{error}; {advice}") from None


def differences(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted names of the leaves in which two nested mappings differ."""
    for key in a.keys() | b.keys():
        x, y = a.get(key), b.get(key)
        if isinstance(x, dict) and isinstance(y, dict):
            yield from differences(x, y, f"{prefix}{key}.")
        elif x != y:
            yield f"{prefix}{key}"
