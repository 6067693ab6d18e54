"""Runs of older versions, as far as what they wrote says what is asked today."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovbench.errors import UsageError
from ovbench.harness.files.json_files import leaf

# What was added to identities later, with what it was before there was a choice.
_ADDED: Mapping[str, Any] = {"limit": None, "warnings": []}
_ADDED_TO_METHOD: Mapping[str, Any] = {"preset": None, "changes": {}}
_ADDED_TO_DATASET: Mapping[str, Any] = {
    "variant": None,
    "subset": None,
    "scored": None,
    "prompted": False,
}
# What nothing can be computed without.
_NEEDED: Mapping[str, type] = {
    "protocol_version": int,
    "method.name": str,
    "method.version": str,
    "method.changes": dict,
    "settings": dict,
    "checkpoint_flavour": str,
    "checkpoints": list,
    "precision": str,
    "seed": int,
    "classes": str,
    "dataset.name": str,
    "dataset.split": str,
    "dataset.background": str,
    "dataset.ignore_label": int,
    "dataset.num_images": int,
    "dataset.ids_sha256": str,
    "vocabulary.source": str,
    "vocabulary.sha256": str,
    "vocabulary.names": list,
    "warnings": list,
}


def identity_of_older_version(path: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """A run's identity before schema 3, with what was added since.

    Args:
        path: the file it was read from.

    Raises:
        UsageError: it was written by no version, or was damaged; names what is missing.
    """
    filled = {
        **_ADDED,
        **identity,
        "method": _filled(_ADDED_TO_METHOD, identity.get("method")),
        "dataset": _filled(_ADDED_TO_DATASET, identity.get("dataset")),
    }
    for name, kind in _NEEDED.items():
        if not isinstance(leaf(filled, name), kind):
            raise UsageError(f"{path}: not a run's identity ({name} is missing or wrong)")
    names, scored = filled["vocabulary"]["names"], filled["dataset"]["scored"]
    if not names or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{path}: not a run's identity (vocabulary.names is wrong)")
    known = range(len(names))
    if scored is not None and not (
        isinstance(scored, list) and all(one in known for one in scored)
    ):
        raise UsageError(f"{path}: not a run's identity (dataset.scored is wrong)")
    return filled


def _filled(added: Mapping[str, Any], part: Any) -> dict[str, Any]:
    return {**added, **(part if isinstance(part, dict) else {})}
