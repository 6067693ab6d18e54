"""Random weights in place of a checkpoint, which serve to measure speed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ovbench.harness.contract.card import RANDOM
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.weights.packaged import packaged_only


def untrained(name: str, runtime: Runtime) -> bool:
    """Whether a name asks for random weights, and no miniature stands for every name."""
    return name == RANDOM and not packaged_only(runtime)


@contextmanager
def seeded(runtime: Runtime) -> Iterator[None]:
    """Networks that are made in this context have the weights of the runtime's seed."""
    root = logging.getLogger()
    root.addFilter(_unasked)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(runtime.seed)
            yield
    finally:
        root.removeFilter(_unasked)


def _unasked(record: logging.LogRecord) -> bool:
    """All but open_clip's warning of random weights, which were asked for here."""
    return not str(record.msg).startswith("No pretrained weights loaded for model")
