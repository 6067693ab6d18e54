"""Settings of a method in a file, as ``ovbench tune`` writes them and ``--settings`` reads them.

::

    {"method": "pnp_ovss", "settings": {"layer": 7}, "tuning": {...}}

``tuning`` says where the values come from; a file written by hand goes without.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ovbench.errors import UsageError
from ovbench.harness.json_files import read_json
from ovbench.harness.settings import parse_assignments


def read_settings_file(path: Path, method: str) -> dict[str, Any]:
    """The settings in a file.

    Raises:
        UsageError: the file is missing or no JSON object, does not name the method, was
            made for another one or holds no settings.
    """
    if not os.path.isfile(path):  # False, too, for a name that no file can have
        raise UsageError(f"{path}: no such settings file; `ovbench tune` makes one")
    content = read_json(path)
    made_for = content.get("method")
    if made_for is None:
        raise UsageError(f'{path}: needs "method", the name of the method')
    if made_for != method:
        raise UsageError(f"{path}: made for the method {made_for!r}, not for {method!r}")
    settings = content.get("settings")
    if not isinstance(settings, dict):
        raise UsageError(f'{path}: needs "settings", an object of names and values')
    return settings


def given_settings(
    path: Path | None, method: str, assignments: Sequence[str] | None
) -> dict[str, Any]:
    """What ``--settings`` and ``--set`` say together; the latter wins.

    Raises:
        UsageError: see :func:`read_settings_file`; or an assignment without "=".
    """
    from_file = {} if path is None else read_settings_file(path, method)
    return {**from_file, **parse_assignments(list(assignments or []))}
