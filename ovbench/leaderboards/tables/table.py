"""Results of many runs as ranked tables, one per set of comparable runs."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ovbench.errors import UsageError
from ovbench.harness.files.json_files import is_sealed, read_json
from ovbench.harness.results.store import SCHEMA_VERSION, files_below, identity_digest
from ovbench.leaderboards.tables.marks import marks

Result = Mapping[str, Any]

_POOLED = "[0-9a-f]" * 12 + ".json"  # as `ovbench results add` names them, by the run's id
_NO_RESULT = "not a result of ovbench; a finished run has it as result.json"


@dataclass(frozen=True, slots=True, order=True)
class Conditions:
    """What two results must share to be ranked against each other.

    Attributes:
        labels: a digest of label files that are a user's own; empty where a benchmark's are.
        names, prompts, folder: what the files and folders of class names, prompt pictures and a
            user's own images are called. They are not compared: their content is.
    """

    dataset: str
    variant: str | None
    subset: str | None
    split: str
    background: str
    names: str = field(compare=False)
    names_sha256: str
    ids_sha256: str
    classes: str
    class_filter: str
    checkpoints: str
    prompts: str = field(compare=False)
    prompts_sha256: str
    labels: str
    folder: str | None = field(compare=False)

    @classmethod
    def of(cls, result: Result) -> Conditions:
        """The conditions a result was measured under."""
        run, vocabulary = result["run"], result["vocabulary"]
        files = result.get("files") or {}
        return cls(
            run["dataset"],
            None if files else run["variant"],
            run["subset"],
            run["split"],
            run["background"],
            vocabulary["source"],
            vocabulary["sha256"],
            run["ids_sha256"],
            run["classes"],
            _filter_words(result),
            run["checkpoints"],
            _prompt_words(result),
            (result.get("prompts") or {}).get("sha256", ""),
            files.get("labels", ""),
            run["variant"] if files else None,
        )

    @property
    def benchmark(self) -> str:
        """The data and what is scored of it, whatever a method is told; a column's heading."""
        shown = self.folder or self.variant
        words = [f"{self.dataset}{f' ({shown})' if shown else ''} {self.split}"]
        words += [f"classes {self.subset}"] if self.subset else []
        words += ["background ignored"] if self.background == "ignore" else []
        return ", ".join(words)

    def words(self, num_images: int) -> str:
        """The conditions as a table's title."""
        background = {"class": "with background", "ignore": "background ignored"}
        shown = self.folder or self.variant
        variant = f" ({shown})" if shown else ""
        words = [
            f"{self.dataset}{variant} {self.split}",
            *([f"classes {self.subset}"] if self.subset else []),
            f"{num_images} images",
            background.get(self.background, "no background class"),
            f"names {self.names} ({self.names_sha256[:8]})",
        ]
        if self.labels:
            words.append(f"labels {self.labels[:8]}")
        if self.prompts:
            words.append(f"prompts {self.prompts}")
        if self.classes == "oracle":
            words.append("class oracle")
        if self.classes == "predicted":
            words.append(f"predicted classes: {self.class_filter}")
        if self.checkpoints == "toy":
            words.append("toy weights")
        return ", ".join(words)


def variant(result: Result) -> str:
    """The method with its preset and whatever settings were changed."""
    run = result["run"]
    return method_words(run["method"], run["preset"], run["changes"])


def method_words(name: str, preset: str | None, changes: Mapping[str, Any]) -> str:
    """A method's name with its preset and its changed settings."""
    changed = [f"{setting}={value}" for setting, value in changes.items()]
    details = [*([preset] if preset else []), *changed]
    return f"{name} ({', '.join(details)})" if details else name


@dataclass(frozen=True, slots=True)
class Board:
    """Comparable results; :func:`footnotes` say what is special about a row."""

    conditions: Conditions
    num_images: int
    rows: tuple[Result, ...]

    @property
    def title(self) -> str:
        """The conditions in words."""
        return self.conditions.words(self.num_images)


def find_results(paths: Iterable[Path]) -> list[Result]:
    """Results in run directories, in folders of run directories, or in given files.

    Raises:
        UsageError: a path holds no result.
    """
    return [read_result(file) for file in result_files(paths)]


def result_files(paths: Iterable[Path]) -> list[Path]:
    """The files that :func:`find_results` reads, each once."""
    files: dict[Path, None] = {}
    for path in paths:
        found = [path] if os.path.isfile(path) else _results_below(path)
        if not found:
            raise UsageError(f"{path}: no result.json here; a run writes it when it is finished")
        files.update(dict.fromkeys(file.resolve() for file in found))
    return list(files)


def _results_below(folder: Path) -> list[Path]:
    return [*files_below(folder, "result.json"), *files_below(folder, _POOLED)]


def of_datasets(
    results: Sequence[Result], datasets: Mapping[str, tuple[str, str | None]]
) -> Sequence[Result]:
    """The results on some datasets; all of them where none is named.

    Args:
        datasets: by the name they were asked for, the registered dataset and its background rule,
            or None for any.

    Raises:
        UsageError: a dataset of which there is no result.
    """
    found: list[Result] = []
    for name, (dataset, rule) in datasets.items():
        of_it = [
            result
            for result in results
            if result["run"]["dataset"] == dataset and rule in (None, result["run"]["background"])
        ]
        if not of_it:
            there = ", ".join(sorted({result["run"]["dataset"] for result in results}))
            raise UsageError(f"--dataset {name}: no result of it; there are {there}")
        found += of_it
    return found if datasets else results


def boards(results: Sequence[Result]) -> list[Board]:
    """Group comparable results, in no order within a group; a run given twice counts once."""
    groups: dict[Conditions, dict[str, Result]] = {}
    for result in results:
        groups.setdefault(Conditions.of(result), {})[result["run"]["id"]] = result
    made = []
    for conditions, group in groups.items():
        rows = tuple(group.values())
        made.append(Board(conditions, max(r["run"]["num_images"] for r in rows), rows))
    return sorted(made, key=lambda board: board.title)


def footnotes(result: Result) -> list[str]:
    """What the row's board does not already say."""
    shared = ("class oracle", "predicted classes", "toy weights")
    return [mark for mark in marks(result) if not mark.startswith(shared)]


def _filter_words(result: Result) -> str:
    """The class filter's name and a digest of all that identifies it; empty without one."""
    found = result.get("filter")
    return f"{found['name']} ({identity_digest(found)[:8]})" if found else ""


def _prompt_words(result: Result) -> str:
    """Where the pictures that show the classes come from, with their digest; empty without any.

    Results of older versions have no such field, and had no such pictures.
    """
    found = result.get("prompts")
    if not found:
        return ""
    shots = f" x{found['shots']}" if found["shots"] else ""
    return f"{found['source']}{shots} ({found['sha256'][:8]})"


def read_result(file: Path) -> Result:
    """A result, as it was written.

    Raises:
        UsageError: it is damaged, changed, or of another version; says how it is made again.
    """
    run = shlex.quote(str(file.parent))
    again = (
        f"`ovbench rescore {run}` computes it again from the run's records"
        if file.name == "result.json"
        else "`ovbench results add` takes it from its run again"
    )
    # Any file of another name may be anything.
    named = file.name == "result.json" or fnmatch(file.name, _POOLED)
    try:
        result = read_json(file)
    except UsageError as error:
        raise UsageError(f"{error}; {again}" if named else f"{file}: {_NO_RESULT}") from None
    if not named and "metrics" not in result:
        raise UsageError(f"{file}: {_NO_RESULT}")
    found = result.get("schema_version")
    if found != SCHEMA_VERSION:
        old = "not a result of ovbench" if found is None else f"written with schema {found}"
        raise UsageError(
            f"{file}: {old}, this ovbench reads {SCHEMA_VERSION}; {again}, or leave it out"
        )
    if not is_sealed(result):
        raise UsageError(f"{file}: not as it was written, its digest differs; {again}")
    return result
