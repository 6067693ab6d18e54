"""The global generators that third-party code may draw from."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ovbench.harness.contract.runtime import SEEDS


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, NumPy and, where it is imported, PyTorch.

    Args:
        seed: begins anew at
            :data:`~ovbench.harness.contract.runtime.SEEDS`, as a run's seed plus the
            place of an image may lie beyond what the generators take.
    """
    seed %= SEEDS
    random.seed(seed)
    np.random.seed(seed)
    if torch := sys.modules.get("torch"):
        # As torch.manual_seed, which besides writes the whole call stack down for every kind of
        # device that is not there: half a millisecond, before every image.
        torch.default_generator.manual_seed(seed)
        if seed_devices := _of_accelerator():
            seed_devices(seed)


@cache
def _of_accelerator() -> Callable[[int], None] | None:
    """What seeds the devices of this machine's accelerator, of which PyTorch knows one at most."""
    import torch

    if not torch.accelerator.is_available():
        return None
    accelerator = torch.accelerator.current_accelerator()
    module: Any = torch.get_device_module(accelerator)
    seed_devices: Callable[[int], None] = getattr(module, "manual_seed_all", module.manual_seed)
    return seed_devices
