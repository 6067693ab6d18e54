"""Time two processes that share a run against one alone.

    python -m benchmarks.processes [--images 60] [--repeats 3] [--model-ms 100]

Photographs of COCO's size with 171 labels, and a model that works on the CPU for 100 ms, in one
thread of PyTorch, as :mod:`benchmarks.overhead` has it. One process is started by Python, two by
``torchrun``, each time anew and in turn. Rates are those at which images are recorded while all
processes are at work: from the tenth image of the process that is last there until the first one
is through. Rows of whole runs have the start of Python and PyTorch, the meeting of the processes
and the result, too; the more images a run has, the less these weigh.

What the machine itself allows is in the rows of a bare loop that reads its pictures ahead in a
thread, and no labels, and counts and keeps nothing; it is begun in the same ways.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import torch

from benchmarks.comparison import ROOT, Row, show
from benchmarks.datasets import SIZES
from benchmarks.overhead import LEFT_OUT, Model, ahead, labelled, opened
from ovbench.datasets import load_dataset
from ovbench.datasets.reading.files import FileDataset
from ovbench.harness.metrics.scores import Confusion
from ovbench.harness.run.runner import evaluate

SIZE, LABELS, PROCESSES, MODEL_MS = "COCO", 171, 2, 100.0
HOW = {"run": "", "loop": ", a bare loop"}


def main() -> None:
    """Print the rows, or be one of the processes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=60, help="of each process")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model-ms", type=float, default=MODEL_MS)
    parser.add_argument(
        "--work", nargs=3, metavar=("HOW", "FOLDER", "LAYERS"), help=argparse.SUPPRESS
    )
    asked = parser.parse_args()
    if asked.work:
        how, folder, layers = asked.work
        work(how, Path(folder), int(layers))
    else:
        show(rows(asked.images, asked.repeats, asked.model_ms))


def rows(images: int = 60, repeats: int = 3, model_ms: float = MODEL_MS) -> Iterator[Row]:
    """Milliseconds an image of the run, whoever did it."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        model = Model(LABELS, waits=False)
        sample = opened(Path(folder), SIZES[SIZE], LABELS, 1).load(0)
        model.fit(sample.image, model_ms / 1000)
    turns: dict[tuple[str, int], list[Turn]] = {}
    for _ in range(repeats):
        for how in HOW:
            for processes in (1, PROCESSES):
                took = turn(how, processes, images, model.layers)
                turns.setdefault((how, processes), []).append(took)
    for how, says in HOW.items():
        what = f"{PROCESSES} processes{says}, a model that computes {model_ms:.0f} ms"
        yield from compared(what, turns[how, 1], turns[how, PROCESSES])


def compared(what: str, alone: Sequence[Turn], together: Sequence[Turn]) -> Iterator[Row]:
    """The rows of what was begun in one way."""
    main = median(t.main for t in together) / median(t.main for t in alone)
    note = f"of each main thread {main:.2f} times the time of a core"
    steady = [t.each for t in together], [t.each for t in alone]
    yield replace(Row.of(what, "one process", "ms", *steady), note=note)
    whole = [t.whole for t in together], [t.whole for t in alone]
    start = median(t.start for t in together), median(t.start for t in alone)
    note = "begins after {:.1f} s, and after {:.1f} s alone".format(*start)
    yield replace(Row.of(f"{what}, start and end, too", "one process", "ms", *whole), note=note)


@dataclass
class Turn:
    """What a run took.

    Attributes:
        each: milliseconds an image while all processes were at work.
        main: milliseconds of a core that an image took of its process's main thread, then.
        whole: milliseconds an image from the command to its end.
        start: seconds from the command until the last process had its first image.
    """

    each: float
    main: float
    whole: float
    start: float


def turn(how: str, processes: int, images: int, layers: int) -> Turn:
    """One run, begun as a user begins it."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        opened(place / "data", SIZES[SIZE], LABELS, processes * images)
        shared = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        script = ["-m", "benchmarks.processes", "--work", how, folder, str(layers)]
        begin = time.monotonic()
        subprocess.run(
            [sys.executable, *(shared if processes > 1 else []), *script],
            cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        took = time.monotonic() - begin
        files = sorted(place.glob("seen-*.json"))
        seen = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return of_processes(seen, begin, took, processes * images)


def of_processes(seen: list[list[list[float]]], begin: float, took: float, images: int) -> Turn:
    """What the processes noted, as one.

    Args:
        seen: of every process and image when it was recorded and the core's time of the main
            thread until then, in seconds.
        begin: of the run, by the same clock.
        took: seconds.
        images: of the run.
    """
    first = max(process[LEFT_OUT][0] for process in seen)
    last = min(process[-1][0] for process in seen)
    inside = [[one for one in process if first <= one[0] <= last] for process in seen]
    # From the first to the last of each: what lies before and behind is part of an image.
    rate = sum((len(p) - 1) / (p[-1][0] - p[0][0]) for p in inside)
    main = median((p[-1][1] - p[0][1]) / (len(p) - 1) for p in inside)
    start = max(process[0][0] for process in seen) - begin
    return Turn(1000 / rate, 1000 * main, 1000 * took / images, start)


def work(how: str, folder: Path, layers: int) -> None:
    """Be one of the processes: measure, and leave what was noted in the folder."""
    dataset = load_dataset("voc", root=folder / "data")
    assert isinstance(dataset, FileDataset)
    rank, size = (int(os.environ.get(name, one)) for name, one in (("RANK", 0), ("WORLD_SIZE", 1)))
    model, notes = Model(LABELS, waits=False), Notes()
    model.layers = layers
    if how == "run":
        evaluate(model, labelled(dataset, LABELS), output=folder / "run", observer=notes)
    else:
        for picture in ahead([dataset.images.source(name) for name in dataset.ids[rank::size]]):
            model.segment([picture])
            notes.recorded("", None)
    (folder / f"seen-{rank}.json").write_text(json.dumps(notes.seen), encoding="utf-8")


@dataclass
class Notes:
    """When images were recorded."""

    seen: list[tuple[float, float]] = field(default_factory=list)

    def started(self, remaining: int, total: int) -> None:
        """See :class:`~ovbench.harness.run.runner.Observer`."""

    def recorded(self, image: str, confusion: Confusion | None) -> None:
        """See :class:`~ovbench.harness.run.runner.Observer`."""
        self.seen.append((time.monotonic(), time.thread_time()))


if __name__ == "__main__":
    main()
