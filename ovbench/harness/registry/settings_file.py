"""Settings of a method in a file, as ``ovbench tune`` writes them and ``--settings`` reads them.

::

    {"method": "pnp_ovss", "settings": {"layer": 7}, "tuning": {...}}

``tuning`` says where the values come from, and a result that is measured with them keeps that; a
file written by hand goes without.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ovbench.errors import UsageError
from ovbench.harness.contract.settings import parse_assignments
from ovbench.harness.files.json_files import read_json


def read_settings_file(path: Path, method: str) -> dict[str, Any]:
    """The settings in a file.

    Raises:
        UsageError: the file is missing or no JSON object, does not name the method, was
            made for another one or holds no settings.
    """
    settings = _read(path, method).get("settings")
    if not isinstance(settings, dict):
        raise UsageError(f'{path}: needs "settings", an object of names and values')
    return settings


def read_tuning(path: Path | None, method: str) -> dict[str, Any] | None:
    """On what the settings in a file were tuned; None where they were not.

    Raises:
        UsageError: see :func:`read_settings_file`; or the record is none.
    """
    tuning = None if path is None else _read(path, method).get("tuning")
    if tuning is None:
        return None
    needed = {"dataset": str, "split": str, "num_images": int, "ids_sha256": str}
    whole = isinstance(tuning, dict) and all(
        isinstance(tuning.get(name), kind) for name, kind in needed.items()
    )
    if not whole or not isinstance(tuning.get("images", []), list):
        names = ", ".join(needed)
        raise UsageError(f'{path}: "tuning" needs {names}, as `ovbench tune` writes them')
    return dict(tuning)


def tuned_on(tuning: Mapping[str, Any], ids: Sequence[str]) -> dict[str, Any]:
    """What a result keeps of :func:`read_tuning`; JSON-ready.

    Args:
        ids: of the images that are measured. Benchmarks that share pictures call them alike
            (VOC and Context; those of COCO), so the names alone are compared.

    Returns:
        With ``measured``, how many of these images the settings were tuned on; None where the
        file does not list its images.
    """
    images = tuning.get("images")
    measured = None if images is None else len(set(ids) & {str(image) for image in images})
    kept = ("dataset", "split", "num_images", "ids_sha256")
    return {**{name: tuning[name] for name in kept}, "measured": measured}


def _read(path: Path, method: str) -> dict[str, Any]:
    if not os.path.exists(path):  # False, too, for a name that no file can have
        raise UsageError(f"{path}: no such settings file; `ovbench tune` makes one")
    content = read_json(path)
    made_for = content.get("method")
    if made_for is None:
        raise UsageError(f'{path}: needs "method", the name of the method')
    if made_for != method:
        raise UsageError(f"{path}: made for the method {made_for!r}, not for {method!r}")
    return content


def given_settings(
    path: Path | None, method: str, assignments: Sequence[str] | None
) -> dict[str, Any]:
    """What ``--settings`` and ``--set`` say together; the latter wins.

    Raises:
        UsageError: see :func:`read_settings_file`; or an assignment without "=".
    """
    from_file = {} if path is None else read_settings_file(path, method)
    return {**from_file, **parse_assignments(list(assignments or []))}
