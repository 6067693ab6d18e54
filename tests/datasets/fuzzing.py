"""Damage to files, reproducible by a seed, and a limit for what might hang."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager


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
