"""The images to tune a method on: those that nobody is measured on, where there are any."""

from __future__ import annotations

from typing import Any

from ovbench.datasets import load_dataset
from ovbench.datasets.choosing.choices import NoSuchSplitError
from ovbench.errors import UsageError
from ovbench.harness.contract.datasets import Dataset


def load_for_tuning(name: str, *, split: str | None = None, **choices: Any) -> Dataset:
    """Open a dataset's training split, or its usual one where it has no such split.

    Args:
        split: another one to take.
        choices: of :func:`~ovbench.datasets.load_dataset`.

    Raises:
        UsageError: as there; files of the training split that are not there included.
    """
    if split is not None:
        return load_dataset(name, split=split, **choices)
    try:
        return load_dataset(name, split="train", **choices)
    except NoSuchSplitError:
        return load_dataset(name, **choices)
    except UsageError as error:
        usual = load_dataset(name, **choices).info.split  # other faults than of the split: its own
        raise UsageError(f"{error}; --split {usual} tunes on what is measured") from None
