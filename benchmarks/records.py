"""Time writing and reading a run's records against JSON that nobody checks.

    python benchmarks/records.py [--images 5000] [--labels 21]

- ovbench: :func:`ovbench.harness.results.records.encode` with its checksum; ``decode`` and
  :class:`~ovbench.harness.results.record_checks.Expected`, which hold a record against its run.
- plain JSON: ``json.dumps`` of the same fields, and ``json.loads`` into arrays.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import numpy as np

from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.metrics.boundary import boundary_areas
from ovbench.harness.metrics.scores import confusion
from ovbench.harness.results.record_checks import Expected
from ovbench.harness.results.records import Cost, ImageRecord, decode, encode

SIDE, REPEATS = 128, 5


def main() -> None:
    """Print microseconds per record and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--labels", type=int, default=21)
    asked = parser.parse_args()
    records = [record(index, asked.labels) for index in range(asked.images)]
    expected = Expected(asked.labels, {one.image for one in records}, summed=True)

    def read(line: bytes) -> None:
        found = decode(line)
        expected.check([found])

    lines, plain = [encode(one) for one in records], [plain_encode(one) for one in records]
    print(f"{len(records)} records of {asked.labels} labels, {len(lines[0])} bytes each")
    compare("write", (encode, records), (plain_encode, records))
    compare("read", (read, lines), (plain_decode, plain))


def compare(what: str, *contestants: tuple[Callable[[Any], object], Sequence[Any]]) -> None:
    """Time two functions in turn, on all their inputs, in seconds of this process alone."""
    times: list[list[float]] = [[] for _ in contestants]
    for _ in range(REPEATS):
        for (function, inputs), found in zip(contestants, times, strict=True):
            start = time.process_time()
            for one in inputs:
                function(one)
            found.append((time.process_time() - start) / len(inputs) * 1e6)
    ours, theirs = map(median, times)
    print(f"{what:6}{ours:8.1f} us, plain JSON {theirs:6.1f} us, ratio {ours / theirs:.1f}")


def plain_encode(record: ImageRecord) -> str:
    """The same fields without a checksum."""
    confusion, edges = record.confusion, record.boundary
    assert confusion.void is not None
    arrays = (
        *(confusion.gt, confusion.pred, confusion.pixels),
        *(confusion.void.pred, confusion.void.pixels),
        *(edges.labels, edges.intersection, edges.gt, edges.pred),
    )
    lists = [one.tolist() for one in arrays]
    return json.dumps({"image": record.image, "lists": lists, "cost": asdict(record.cost)})


def plain_decode(line: str) -> Any:
    """The same arrays without a question."""
    data = json.loads(line)
    return [np.asarray(one) for one in data["lists"]], Cost(**data["cost"])


def record(index: int, labels: int) -> ImageRecord:
    """An image whose labels are here and there taken for others."""
    rng = np.random.default_rng(index)
    gt, other = blocks(rng, labels), blocks(rng, labels)
    pred = np.where(rng.random((SIDE, SIDE)) < 0.7, gt, other).astype(np.uint8)
    gt[:4] = 255
    cost = Cost(0.001, 0.25, 0.002, {"encode": 0.2, "match": 0.05}, rss=10**9)
    edges = boundary_areas(gt, pred, labels)
    return ImageRecord(f"{index:012d}", gt.size, confusion(gt, pred, labels), edges, cost)


def blocks(rng: np.random.Generator, labels: int) -> LabelMap:
    """Four labels in sixteen squares."""
    chosen = rng.choice(labels, 4, replace=False)
    squares = rng.choice(chosen, (4, 4)).astype(np.uint8)
    return squares.repeat(SIDE // 4, axis=0).repeat(SIDE // 4, axis=1)


if __name__ == "__main__":
    main()
