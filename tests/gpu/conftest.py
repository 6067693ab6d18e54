"""What the tests on a GPU share: the device, and one cache, as much of it depends on no device."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CPU_INSTEAD = "OVBENCH_GPU_TESTS_ON"
"""Set to ``cpu`` it lets these tests compare a CPU with itself, which shows that they run."""


@pytest.fixture
def device() -> str:
    import torch

    if named := os.environ.get(CPU_INSTEAD):
        return named
    if not torch.cuda.is_available():
        pytest.skip(f"PyTorch finds no GPU here; {CPU_INSTEAD}=cpu tests these tests")
    return "cuda"


@pytest.fixture
def gpu(device: str) -> str:
    if device == "cpu":
        pytest.skip("a question about GPUs alone")
    return device


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared-cache")


@pytest.fixture(autouse=True)
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Support pictures and what is made of them are made once: both devices see the same."""
    monkeypatch.setenv("OVBENCH_CACHE", str(shared_cache))
    return shared_cache
