"""Read ahead of the consumer, in threads: decoding overlaps with compute.

Pillow and zlib release the interpreter lock while they decode, so threads suffice and
nothing is copied between processes.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from ovbench.errors import DataError
from ovbench.harness.contract.datasets import Dataset, Sample


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """One image as it was read.

    Attributes:
        index: into the dataset.
        sample: None where reading failed.
        error: why it failed.
        load_s: seconds of reading and decoding.
    """

    index: int
    sample: Sample | None
    error: DataError | None
    load_s: float


def prefetch(
    dataset: Dataset,
    indices: Sequence[int],
    *,
    workers: int | None = None,
    depth: int | None = None,
) -> Generator[Loaded, None, None]:
    """Yield samples in the order of ``indices``, reading ahead in threads.

    Closing the generator drops what has not been started and waits for the reads in progress.

    Args:
        workers: threads; the default is up to 4, as many as there are cores.
        depth: samples at most that are being read or wait behind the one yielded; the default
            is 2 per thread.

    Raises:
        Exception: whatever the dataset raises besides :class:`DataError`, which is yielded.
    """
    workers = workers or min(4, os.cpu_count() or 1)
    depth = depth or 2 * workers
    pool = ThreadPoolExecutor(workers, thread_name_prefix="ovbench-read")
    remaining = iter(indices)
    waiting: deque[Future[Loaded]] = deque()
    try:
        for index in islice(remaining, depth):
            waiting.append(pool.submit(_load, dataset, index))
        while waiting:
            loaded = waiting.popleft().result()
            for index in islice(remaining, 1):
                waiting.append(pool.submit(_load, dataset, index))
            yield loaded
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _load(dataset: Dataset, index: int) -> Loaded:
    start = time.perf_counter()
    try:
        sample = dataset.load(index)
    except DataError as error:
        return Loaded(index, None, error, time.perf_counter() - start)
    except Exception as error:
        error.add_note(f"while reading image {dataset.ids[index]}")
        raise
    return Loaded(index, sample, None, time.perf_counter() - start)
