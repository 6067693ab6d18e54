"""Time writing and reading a run's records against JSON that nobody checks.

    python -m benchmarks.records [--images 5000] [--labels 21]

- ovbench: :func:`ovbench.harness.results.records.encode` with its checksum; ``decode`` and
  :class:`~ovbench.harness.results.record_checks.Expected`, which hold a record against its run.
- plain JSON: ``json.dumps`` of the same fields, and ``json.loads`` into arrays.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.comparison import Row, in_turn, show
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.metrics.boundary import boundary_areas
from ovbench.harness.metrics.scores import confusion
from ovbench.harness.results.record_checks import Expected
from ovbench.harness.results.records import Cost, ImageRecord, decode, encode

SIDE, REPEATS = 128, 5
TOGETHER = 32
"""Records that a run checks at a time."""


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--labels", type=int, default=21)
    asked = parser.parse_args()
    show(rows(asked.images, asked.labels))


def rows(images: int = 1500, labels: int = 21) -> Iterator[Row]:
    """Microseconds of processor time per record."""
    records = [record(index, labels) for index in range(images)]
    expected = Expected(labels, {one.image for one in records}, summed=True)

    def read(lines: Sequence[bytes]) -> None:
        expected.check([decode(line) for line in lines])

    lines, plain = [encode(one) for one in records], [plain_encode(one) for one in records]
    together = [lines[i : i + TOGETHER] for i in range(0, images, TOGETHER)]
    for name, ours, theirs in (
        ("write, with a checksum", each(encode, records), each(plain_encode, records)),
        ("read, with every check", each(read, together), each(plain_decode, plain)),
    ):
        contestants = {"ours": ours, "theirs": theirs}
        spent = in_turn(contestants, REPEATS, clock=time.process_time, per_second=1e6 / images)
        yield Row.of(name, "plain JSON", "µs", spent["ours"], spent["theirs"])


def each(function: Callable[[Any], object], inputs: Sequence[Any]) -> Callable[[], None]:
    """Call a function on every input."""

    def call() -> None:
        for one in inputs:
            function(one)

    return call


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
