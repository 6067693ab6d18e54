"""What a reader must know before comparing a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def marks(result: Mapping[str, Any]) -> list[str]:
    """One short phrase for each way in which a result is not the plain benchmark."""
    run = result["run"]
    found = []
    if run["classes"] != "all":
        found.append("class oracle: the method was told each image's true classes")
    if run["checkpoints"] == "toy" and result["checkpoints"]:
        found.append("toy weights")
    if run["limit"] is not None:
        found.append(f"only the first {run['num_images']} images")
    if not run["complete"]:
        found.append(f"incomplete: {len(run['bad_images'])} unreadable images left out")
    return found + list(run["warnings"])
