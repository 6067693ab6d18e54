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
    if conditions["checkpoints"] == "toy":
        words.append("toy weights")
    return f"{', '.join(words)}, on {conditions['device']} ({machine})"
