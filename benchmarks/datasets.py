"""Time reading samples, and ask whether the reader keeps up with a fast model.

    python benchmarks/datasets.py

Photographs and label maps of the sizes of VOC (500 x 375) and COCO (640 x 480) are written to a
temporary folder: smooth noise, whose JPEGs are about as large as the benchmarks'. Then, in one run:

- where the time of one sample goes: JPEG, PNG, table of labels;
- images per second of ``prefetch`` with 1, 2 and 4 threads, and of torch's ``DataLoader`` with as
  many processes, which is what a user would write;
- the time of a loop whose model takes 10 ms an image, divided by that of the model alone. The model
  waits, as for a GPU, or computes on one core of the CPU.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from ovbench.datasets import load_dataset
from ovbench.datasets.reading.files import FileDataset
from ovbench.harness.contract.datasets import Sample
from ovbench.harness.files.images import read_image, read_label, write_label
from ovbench.harness.files.loader import prefetch

SIZES = {"VOC": (375, 500), "COCO": (480, 640)}
MODEL_S = 0.010
JPEG_QUALITY = 95
WORKERS = (1, 2, 4)


def main() -> None:
    """Print one table per question."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as folder:
        sets = {
            name: made(Path(folder) / name, size, arguments.images) for name, size in SIZES.items()
        }
        console.print(parts(sets, arguments.repeats))
        console.print(rates(sets, arguments.repeats))
        console.print(keeping_up(sets, arguments.repeats))


def made(root: Path, size: tuple[int, int], count: int) -> FileDataset:
    """A tree in VOC's layout."""
    home = root / "VOCdevkit" / "VOC2012"
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (home / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        photograph = Image.fromarray(smooth(rng, size))
        photograph.save(home / "JPEGImages" / f"{number}.jpg", quality=JPEG_QUALITY)
        label = (smooth(rng, size)[..., 0] // 13).astype(np.uint8)  # 0 to 19
        write_label(home / "SegmentationClass" / f"{number}.png", label)
    names = "\n".join(map(str, range(count)))
    (home / "ImageSets" / "Segmentation" / "val.txt").write_text(names)
    dataset = load_dataset("voc", root=root)
    assert isinstance(dataset, FileDataset)
    return dataset


def smooth(rng: np.random.Generator, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Blobs of colour with a little grain."""
    coarse = rng.integers(0, 256, (size[0] // 40, size[1] // 40, 3), dtype=np.uint8)
    blobs = Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)
    grain = rng.normal(0, 9, (*size, 3))
    return np.clip(np.asarray(blobs) + grain, 0, 255).astype(np.uint8)


def parts(sets: dict[str, FileDataset], repeats: int) -> Table:
    """Milliseconds of each part of a sample, in one thread."""
    table = Table("", "JPEG KiB", "JPEG", "label PNG", "table", title="ms per image, one thread")
    for name, dataset in sets.items():
        path, label = dataset.images.source("0"), dataset.labels.source("0")
        raw = read_label(label)
        calls: list[Callable[[], object]] = [
            partial(read_image, path),
            partial(read_label, label),
            partial(dataset.decode, raw, label),
        ]
        times = [f"{1000 * timed(call, repeats * 10):.2f}" for call in calls]
        table.add_row(name, f"{path.stat().st_size / 1024:.0f}", *times)
    return table


def rates(sets: dict[str, FileDataset], repeats: int) -> Table:
    """Images per second without a model."""
    table = Table("", "workers", "ovbench", "DataLoader", "ratio", title="images per second")
    for name, dataset in sets.items():
        for workers in WORKERS:
            ours, theirs = [], []
            for _ in range(repeats):
                ours.append(consumed(reader(dataset, workers), ignore))
                theirs.append(consumed(torch_loader(dataset, workers), ignore))
            count, ratio = len(dataset.ids), median(theirs) / median(ours)
            table.add_row(
                name,
                str(workers),
                f"{count / median(ours):.0f}",
                f"{count / median(theirs):.0f}",
                f"{ratio:.2f}",
            )
    return table


def keeping_up(sets: dict[str, FileDataset], repeats: int) -> Table:
    """A loop with a model of 10 ms over the model alone: 1 is perfect."""
    title = "time of a loop with a 10 ms model, default workers, over the model alone"
    table = Table("", "model", "ovbench", "reading in the loop", title=title)
    for name, dataset in sets.items():
        for model, work in (("waits", wait), ("computes", Computes())):
            behind, inline = [], []
            for _ in range(repeats):
                ideal = consumed(range(len(dataset.ids)), work)
                behind.append(consumed(reader(dataset, None), work) / ideal)
                inline.append(consumed(map(dataset.load, range(len(dataset.ids))), work) / ideal)
            table.add_row(name, model, f"{median(behind):.3f}", f"{median(inline):.3f}")
    return table


def reader(dataset: FileDataset, workers: int | None) -> Iterator[Any]:
    """What a run reads with."""
    with closing(prefetch(dataset, range(len(dataset.ids)), workers=workers)) as stream:
        yield from stream


@dataclass
class Indexed(torch.utils.data.Dataset[Sample]):
    """The same dataset as torch wants it."""

    dataset: FileDataset

    def __len__(self) -> int:
        return len(self.dataset.ids)

    def __getitem__(self, index: int) -> Any:
        sample = self.dataset.load(index)
        return torch.from_numpy(sample.image), torch.from_numpy(sample.label)


def torch_loader(dataset: FileDataset, workers: int) -> Iterable[Any]:
    """torch's reader, one image at a time, as images have their own sizes."""
    return DataLoader(Indexed(dataset), batch_size=None, num_workers=workers)


def wait(_: object) -> None:
    """A model on a GPU."""
    time.sleep(MODEL_S)


class Computes:
    """A model on the CPU: the same matrix products every time, in one thread."""

    def __init__(self) -> None:
        self._matrix = torch.ones((256, 256))
        self._products = 20
        took = median(timed(partial(self, None), 5) for _ in range(5))
        self._products = max(1, round(self._products * MODEL_S / took))

    def __call__(self, _: object) -> None:
        for _ in range(self._products):
            torch.mm(self._matrix, self._matrix)


def ignore(_: object) -> None:
    """No model."""


def consumed(samples: Iterable[object], work: Callable[[object], None]) -> float:
    """Seconds to work on every sample, starting the workers included."""
    start = time.perf_counter()
    for sample in samples:
        work(sample)
    return time.perf_counter() - start


def timed(call: Callable[[], object], repeats: int) -> float:
    """Median seconds of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return median(times)


if __name__ == "__main__":
    main()
