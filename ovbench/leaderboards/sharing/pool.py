"""Results that groups pool by pull request: ``<method>/<benchmark>/<id>.json`` below a folder.

A file is the run's ``result.json`` with the ``identity`` of its ``run.json``, sealed as one: it can
be told from any other run, and be read wherever a result is, without records.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ovbench.errors import UsageError
from ovbench.harness.files.atomic import ready_folder
from ovbench.harness.files.below import below, file_name
from ovbench.harness.files.json_files import read_json, sealed, write_json
from ovbench.harness.results.store import RunStore
from ovbench.harness.results.summary import summarise
from ovbench.leaderboards.sharing.checks import differing, problems
from ovbench.leaderboards.tables.table import Conditions, Result

LAYOUT = "<method>/<benchmark>/<id>.json"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a file, in one line."""

    path: Path
    words: str

    def __str__(self) -> str:
        return f"{self.path}: {self.words}"


def place_of(result: Result) -> Path:
    """Where a result lies, below the folder of all: by its method, its benchmark and its run."""
    run = result["run"]
    benchmark = file_name(Conditions.of(result).benchmark)
    return Path(file_name(run["method"]), benchmark, f"{file_name(run['id'])}.json")


def shared(store: RunStore) -> Result:
    """A finished run as it is pooled.

    Raises:
        UsageError: it has no result, its records give another one, or it is not whole.
    """
    run = shlex.quote(str(store.path))
    identity, result = store.identity(), store.result()
    if identity is None or result is None:
        raise UsageError(f"{store.path}: no sound result.json; `ovbench rescore {run}` makes it")
    pooled = sealed({**result, "identity": identity})
    if wrong := problems(pooled):
        raise UsageError(f"{store.path}: {wrong[0]}; it is not shared")
    again = summarise(identity, store.records())
    if any(differing(again[name], result[name]) for name in ("metrics", "per_class")):
        raise UsageError(
            f"{store.path}: its records give other numbers than its result.json; "
            f"`ovbench rescore {run}` computes it again"
        )
    return pooled


def add(store: RunStore, folder: Path, *, replace: bool = False) -> tuple[Path, bool]:
    """Put a finished run's result into the folder.

    Args:
        replace: another measurement of the same run gives way.

    Returns:
        The file, and whether it was written: it may be there already.

    Raises:
        UsageError: as :func:`shared`; another measurement of this run is there.
    """
    pooled = shared(store)
    path = below(folder, str(place_of(pooled)))
    if os.path.lexists(path) and not replace:
        if read_json(path) == pooled:
            return path, False
        raise UsageError(f"{path}: another measurement of this run is there; see --replace")
    ready_folder(path)
    write_json(path, pooled)
    return path, True


def files_of(folder: Path) -> list[Path]:
    """The files below the folders of methods; hidden ones are nobody's results.

    Raises:
        UsageError: there is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; `ovbench results add` makes it")
    found = sorted(
        path
        for path in folder.rglob("*")
        if not path.is_dir() or path.is_symlink()
        if path.parent != folder
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        raise UsageError(f"{folder}: no results below it, which lie in {LAYOUT}")
    return found


def check(path: Path, folder: Path) -> Iterator[Problem]:
    """What is wrong with a file of the folder; nothing where it can be believed."""
    if path.is_symlink() or path.suffix != ".json":
        yield Problem(path, f"is no result; below {folder} there are only {LAYOUT}")
        return
    try:
        result = read_json(path)
    except UsageError as error:
        yield Problem(path, str(error).removeprefix(f"{path}: "))
        return
    wrong = problems(result)
    yield from (Problem(path, words) for words in wrong)
    if not wrong and (place := place_of(result)) != path.relative_to(folder):
        yield Problem(path, f"belongs into {folder / place}")
