"""Measuring again what a directory holds, and losing nothing before the new run is whole.

The new run grows in ``.fresh`` below the directory. Once its result is written, the old run is
removed, the stage becomes ``.whole``, and its parts move up. Whoever is killed in between, the
next start goes on from the names that are there; old and new records never lie side by side.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovbench.errors import UsageError
from ovbench.harness.results.store import RunStore, essence

_STAGE, _WHOLE = ".fresh", ".whole"
_PARTS = ("result.json", "run.json", "records", "predictions")
"""In the order in which the old ones go; the new ones come in reverse, so that a reader finds a
run only where all of it is there."""


def stage_of(directory: Path, identity: Mapping[str, Any]) -> Path:
    """Where a directory's new run grows; what was begun there before is kept if it is the same.

    That is the directory itself if no run is there: nothing in it is ovbench's to replace.

    Raises:
        UsageError: what was begun before cannot be removed.
    """
    if not os.path.lexists(directory / "run.json"):
        return directory
    stage = directory / _STAGE
    try:
        begun = RunStore(stage).identity()
    except UsageError:  # torn by whoever was killed
        begun = {}
    if begun is not None and essence(begun) != essence(identity):
        _remove(stage)
    return stage


def settle(directory: Path) -> None:
    """Put a new run that is whole in the place of the old one, if there is such a run.

    Raises:
        UsageError: the directory cannot be written.
    """
    stage, whole = directory / _STAGE, directory / _WHOLE
    if os.path.isfile(stage / _PARTS[0]):  # False, too, for a name that no folder can have
        for name in _PARTS:
            _remove(directory / name)
        _move(stage, whole)
    if os.path.isdir(whole):
        for name in reversed(_PARTS):
            if (whole / name).exists():
                _move(whole / name, directory / name)
        _remove(whole)


def _move(path: Path, target: Path) -> None:
    try:
        path.replace(target)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written ({error.strerror})") from None


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot be removed ({error.strerror})") from None
