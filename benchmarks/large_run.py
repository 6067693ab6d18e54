"""Time and memory of finishing, comparing and reporting a run of many images and classes.

    python -m benchmarks.large_run [--images 50000] [--labels 171] [--picture memory.svg]

Records of random labels, the longest that so many pixels can have, are written twice. Then
`ovbench rescore` finishes both runs, `ovbench compare` compares them and `ovbench report` makes a
page of one; each is a process of its own, whose memory is read every 20 ms. Beside them stands a
process that only reads the same lines with `json.loads`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.comparison import Row, show
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import DatasetInfo, Sample
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.metrics.boundary import boundary_areas
from ovbench.harness.metrics.scores import confusion
from ovbench.harness.registry.methods import Subject
from ovbench.harness.results.identity import conditions
from ovbench.harness.results.records import Cost, ImageRecord, Session
from ovbench.harness.results.store import RunStore, ShardWriter

SIDE, DISTINCT = 32, 500
MIB = 1 << 20
Samples = list[tuple[float, float]]


def main() -> None:
    """Print seconds and MiB of every command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--labels", type=int, default=171)
    parser.add_argument("--picture", type=Path, help="memory over time, as SVG")
    parser.add_argument("--folder", type=Path, help="keep the runs here, and take what is there")
    asked = parser.parse_args()
    found = commands(asked.images, asked.labels, asked.folder)
    show(rows_of(found))
    if asked.picture:
        shown = {name: found[name] for name in ("rescore", "compare", "report")}
        asked.picture.write_text(drawn(shown))


def rows(images: int = 50_000, labels: int = 171) -> Iterator[Row]:
    """Seconds and the largest resident set of every command."""
    yield from rows_of(commands(images, labels, None))


def rows_of(found: Mapping[str, Samples]) -> Iterator[Row]:
    """Every command against reading the lines and nothing else."""
    against = "json.loads of every line"
    floor = found[against]
    for name, samples in found.items():
        if name != against:
            yield Row.of(name, against, "s", [samples[-1][0]], [floor[-1][0]])
            yield Row.of(name, against, "MiB", [most(samples)], [most(floor)])


def most(samples: Samples) -> float:
    return max(mib for _, mib in samples)


def commands(images: int, labels: int, kept: Path | None) -> dict[str, Samples]:
    """What each took over time, and reading the lines alone."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = kept or Path(scratch)
        first, second = (made(folder, seed, images, labels) for seed in (0, 1))
        return {
            "json.loads of every line": measured([sys.executable, "-c", _PARSE, str(first)]),
            "rescore": measured(ovbench("rescore", first)),
            "rescore, second": measured(ovbench("rescore", second)),
            "compare": measured(ovbench("compare", first, second)),
            "report": measured(ovbench("report", first, "--no-pictures", "-o", folder / "a.html")),
        }


_PARSE = """
import json, sys, pathlib
for shard in pathlib.Path(sys.argv[1]).glob("records/*.jsonl"):
    with shard.open("rb") as lines:
        for line in lines:
            json.loads(line)
"""


class Nowhere:
    """A dataset of names alone."""

    def __init__(self, images: int, labels: int) -> None:
        self.info = DatasetInfo("nowhere", "val", "none")
        self.vocabulary = Vocabulary.of(*(f"class {i}" for i in range(labels)))
        self.ids = [f"{i:012d}" for i in range(images)]

    def load(self, index: int) -> Sample:
        raise IndexError(index)

    def decode(self, raw: LabelMap, source: Path) -> LabelMap:
        return raw


def made(folder: Path, seed: int, images: int, labels: int) -> Path:
    """A run of which every image is recorded, unless it is there."""
    path = folder / f"run-{seed}"
    if path.exists():
        return path
    dataset, rng = Nowhere(images, labels), np.random.default_rng(seed)
    subject = Subject(f"synthetic-{seed}", "1", Runtime())
    identity = {
        **conditions(subject, dataset, dataset.ids),
        "method": {"name": f"synthetic-{seed}", "version": "1", "preset": None, "changes": {}},
        "classes": "all",
        "limit": None,
        "warnings": [],
    }
    store = RunStore(path)
    store.claim(identity, dataset.ids)
    counted = []
    for _ in range(DISTINCT):
        gt, pred = rng.integers(0, labels, (2, SIDE, SIDE)).astype(np.uint8)
        counted.append((confusion(gt, pred, labels), boundary_areas(gt, pred, labels)))
    with ShardWriter(store, 0) as shard:
        shard.append([Session("2026-01-01T00:00:00", "", 0, 1, 1, "cpu", 1.0, {}, {"python": "3"})])
        for place, name in enumerate(dataset.ids):
            cost = Cost(0.001, float(rng.gamma(4, 0.05)), 0.001, {"encode": 0.1, "match": 0.05})
            shard.append([ImageRecord(name, SIDE**2, *counted[place % DISTINCT], cost)])
    return path


def ovbench(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "ovbench", *map(str, arguments)]


def measured(command: Sequence[str]) -> Samples:
    """Seconds since the start and MiB of resident memory, until the process ends."""
    start = time.perf_counter()
    samples = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1] or 0)
            samples.append((time.perf_counter() - start, pages * os.sysconf("SC_PAGE_SIZE") / MIB))
            time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return [*samples, (time.perf_counter() - start, 0.0)]


def drawn(found: Mapping[str, Samples], width: int = 640, height: int = 240) -> str:
    """MiB over seconds, as a chart of lines."""
    seconds = max(samples[-1][0] for samples in found.values())
    most = max(mib for samples in found.values() for _, mib in samples)
    left, low = 48, height - 28

    def point(second: float, mib: float) -> str:
        across, up = second / seconds * (width - left - 8), mib / most * (low - 24)
        return f"{left + across:.1f},{low - up:.1f}"

    parts = [f'<path d="M{left} 16V{low}H{width - 8}" fill="none" stroke="#888"/>']
    for place, (name, samples) in enumerate(found.items()):
        colour = ("#0072b2", "#d55e00", "#009e73")[place % 3]
        line = " ".join(point(*sample) for sample in samples)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}"/>')
        parts.append(f'<text x="{left + 90 * place}" y="12" fill="{colour}">{name}</text>')
    parts.append(f'<text x="4" y="30" fill="#888">{most:.0f} MiB</text>')
    parts.append(f'<text x="{width - 40}" y="{height - 10}" fill="#888">{seconds:.0f} s</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-size="11"'
    return f'{head} font-family="sans-serif">{"".join(parts)}</svg>\n'


if __name__ == "__main__":
    main()
