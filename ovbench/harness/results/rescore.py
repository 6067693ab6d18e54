"""A result computed again from the records of its run, without a method or a dataset."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ovbench.errors import DataError, UsageError
from ovbench.harness.results.run_records import RunRecords
from ovbench.harness.results.store import RunStore, files_below
from ovbench.harness.results.summary import summarise


class UnfinishedError(UsageError):
    """Images of a run have no record yet."""


def find_runs(paths: Iterable[Path]) -> list[RunStore]:
    """The runs in directories, or in folders of them.

    Raises:
        UsageError: a path holds no run.
    """
    found: dict[Path, None] = {}
    for path in paths:
        files = files_below(path, "run.json")
        if not files:
            raise UsageError(f"{path}: no run here; a run directory holds run.json and records")
        found.update(dict.fromkeys(file.parent for file in files))
    return [RunStore(path) for path in found]


def finish(store: RunStore) -> dict[str, Any]:
    """Write the result of a run whose images are all recorded, or known to be bad.

    Returns:
        What ``result.json`` now holds.

    Raises:
        UsageError: no run is there, or its files are damaged or not its own.
        DataError: every image is bad.
        UnfinishedError: an image has no record; says how to go on.
        OvbenchError: there is no room for the result.
    """
    identity = store.identity()
    if identity is None:
        raise UsageError(f"{store.path}: no run here; a run directory holds run.json and records")
    records = store.records()
    expected = identity["dataset"]["num_images"]
    missing = expected - len(records.images) - len(records.bad)
    if missing < 0:
        raise UsageError(f"{store.path}: records of more images than the run has ({expected})")
    if missing:
        raise UnfinishedError(
            f"{store.path}: {missing} of {expected} images have no record here; "
            f"{_own_command(records)} measures them; several processes must all see this directory"
        )
    if not records.images:
        first = next(iter(records.bad.values()))
        raise DataError(f"none of the {expected} images can be read; {first.reason}")
    result = summarise(identity, records)
    store.write_result(result)
    return result


def _own_command(records: RunRecords) -> str:
    """What goes on with a run, as it was typed where that is recorded."""
    command = records.sessions[-1].command if records.sessions else ""
    return f"`{command}`" if command else "the run's own command"
