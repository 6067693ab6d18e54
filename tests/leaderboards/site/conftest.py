"""Runs to make a site of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ovbench.harness.registry.methods import load_method
from ovbench.harness.run.runner import evaluate


@pytest.fixture
def runs(memory_dataset: Any, tmp_path: Path) -> list[Path]:
    """Three of one method and one benchmark, by their seeds."""
    paths = [tmp_path / f"run-{seed}" for seed in range(3)]
    for seed, path in enumerate(paths):
        evaluate(load_method("random", device="cpu", seed=seed), memory_dataset(), output=path)
    return paths
