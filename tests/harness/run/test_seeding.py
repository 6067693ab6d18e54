"""Every global generator begins where a run says, at little cost."""

from __future__ import annotations

import random
import traceback
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ovbench.harness.contract.runtime import SEEDS
from ovbench.harness.run import seeding
from ovbench.harness.run.seeding import seed_everything


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What is known of this machine's accelerator is asked for anew."""
    seeding._of_accelerator.cache_clear()
    yield
    seeding._of_accelerator.cache_clear()


def drawn() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


@pytest.mark.parametrize("seed", [0, 7, SEEDS - 1])
def test_it_is_the_seed_of_each_library(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    expected = drawn()
    drawn()
    seed_everything(seed)
    assert drawn() == expected
    seed_everything(seed + SEEDS)
    assert drawn() == expected


def test_no_stack_is_written_down_for_devices_that_are_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a call stack was written down")

    monkeypatch.setattr(traceback, "format_stack", refused)
    seed_everything(3)


@pytest.mark.parametrize("every", ["manual_seed_all", "manual_seed"])
def test_the_accelerator_that_is_there_is_seeded(
    every: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []
    module = SimpleNamespace(manual_seed=lambda _: None)
    setattr(module, every, seeds.append)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("mps"))
    monkeypatch.setattr(torch, "get_device_module", lambda _: module)
    seed_everything(5)
    seed_everything(6)
    assert seeds == [5, 6]
