"""What a profile was measured under, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def conditions_words(profile: Mapping[str, Any]) -> str:
    """One line: the data, the weights and the device."""
    conditions, environment = profile["conditions"], profile["environment"]
    data, labels = conditions["dataset"], len(conditions["vocabulary"]["names"])
    machine = environment["gpu"] or f"{environment['cpu']}, threads: {environment['cpu_threads']}"
    words = [f"{data['name']} {data['split']}", f"{data['num_images']} images", f"{labels} labels"]
    measured = [row["figures"] for row in profile["rows"] if row["figures"]]
    if conditions["checkpoints"] == "toy" and any(f["checkpoints"] for f in measured):
        words.append("toy weights")
    return f"{', '.join(words)}, on {conditions['device']} ({machine})"
