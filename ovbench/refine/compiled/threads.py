"""Threads for compiled loops, which let go of Python's lock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch

Found = TypeVar("Found")


class Threads:
    """As many as PyTorch has; they end with the object."""

    def __init__(self) -> None:
        self._count = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self._count)

    def each(self, work: Callable[..., Found], *given: Iterable[Any]) -> list[Found]:
        """As ``map``, at once; one thread does without a handover."""
        return list(map(work, *given) if self._count == 1 else self._pool.map(work, *given))

    def parts(self, count: int) -> list[tuple[int, int]]:
        """Where about equal parts begin and end, one a thread at most; none is empty."""
        edges = np.unique(np.linspace(0, count, self._count + 1).astype(np.int64))
        return list(pairwise(edges.tolist()))
