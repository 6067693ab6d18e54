"""Damage to files, reproducible by a seed, and a limit for what might hang."""

from __future__ import annotations

import copy
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def mutated(content: bytes, seed: int) -> bytes:
    """The content with one kind of damage: bytes changed, a piece lost, doubled or moved."""
    rng, data = random.Random(seed), bytearray(content)
    start = rng.randrange(len(data))
    end = min(len(data), start + 1 + rng.randrange(64))
    kind = seed % 8
    if kind == 0:  # the end is missing
        del data[start:]
    elif kind == 1:  # a piece is missing
        del data[start:end]
    elif kind == 2:  # a piece is there twice
        data[start:start] = data[start:end]
    elif kind == 3:  # a piece is somewhere else
        piece = data[start:end]
        del data[start:end]
        place = rng.randrange(len(data) + 1)
        data[place:place] = piece
    else:  # some bytes are others
        for _ in range(1 + rng.randrange(4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


@contextmanager
def seconds(limit: int) -> Iterator[None]:
    """Fails what takes longer, where the system has alarms."""

    def stop(*_: object) -> None:
        raise AssertionError(f"took more than {limit} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(limit)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


ODD = (
    None, True, -1, 0, 1, 255, 65536, 1 << 31, 10**40, 1e9, -1e9, 1e30, float("nan"), "", "x",
    "../x", "/etc/passwd", "\u2028", "\ud800", [], {}, [[]], [1e9] * 8, [0, -1],
    [[0, 0, 9e9, 0, 9e9, 9e9]],
)  # fmt: skip
"""Values that have no place where they may be put."""


def spoilt(content: Any, seed: int) -> Any:
    """The content with one value at a random depth changed to an odd one, lost or doubled."""
    rng, whole = random.Random(seed), copy.deepcopy(content)
    place, depth = whole, 0
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = rng.choice(keys)
        inner, depth = place[key], depth + 1
        if not isinstance(inner, dict | list) or not inner or (depth > 1 and rng.random() < 0.15):
            break
        place = inner
    if rng.random() < 0.2:
        del place[key]
    elif isinstance(place, list) and rng.random() < 0.3:
        place.insert(key, copy.deepcopy(place[key]))
    else:
        place[key] = copy.deepcopy(rng.choice(ODD))
    return whole
