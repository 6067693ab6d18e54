"""Time reading samples, and ask whether the reader keeps up with a fast model.

    python -m benchmarks.datasets

Photographs and label maps of the sizes of VOC (500 x 375) and COCO (640 x 480) are written to a
temporary folder: smooth noise, whose JPEGs are about as large as the benchmarks'. Then, in one run:

- the time of an image of ``prefetch`` with 1, 2 and 4 threads, and of torch's ``DataLoader`` with
  as many processes, which is what a user would write;
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
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.utils.data import DataLoader

from benchmarks.comparison import Row, in_turn, show
from ovbench.datasets import load_dataset
from ovbench.datasets.reading.files import FileDataset
from ovbench.harness.contract.datasets import Sample
from ovbench.harness.files.images import write_label
from ovbench.harness.files.loader import prefetch

SIZES = {"VOC": (375, 500), "COCO": (480, 640)}
MODEL_S = 0.010
JPEG_QUALITY = 95
WORKERS = (1, 2, 4)
Drawing: TypeAlias = Callable[[np.random.Generator, tuple[int, int]], npt.NDArray[np.uint8]]


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    show(rows(arguments.images, arguments.repeats))


def rows(images: int = 200, repeats: int = 5) -> Iterator[Row]:
    """Milliseconds an image."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for name, size in SIZES.items():
            dataset = made(Path(folder) / name, size, images)
            yield from rates(name, dataset, repeats)
            yield from keeping_up(name, dataset, repeats)


def banded(rng: np.random.Generator, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Labels 0 to 19 with grain, whose PNGs are about as large as the benchmarks'."""
    return (smooth(rng, size)[..., 0] // 13).astype(np.uint8)


def made(root: Path, size: tuple[int, int], count: int, drawn: Drawing = banded) -> FileDataset:
    """A tree in VOC's layout.

    Args:
        drawn: gives a label map of a size.
    """
    home = root / "VOCdevkit" / "VOC2012"
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (home / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        photograph = Image.fromarray(smooth(rng, size))
        photograph.save(home / "JPEGImages" / f"{number}.jpg", quality=JPEG_QUALITY)
        write_label(home / "SegmentationClass" / f"{number}.png", drawn(rng, size))
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


def rates(name: str, dataset: FileDataset, repeats: int) -> Iterator[Row]:
    """Without a model, by threads or processes."""
    for workers in WORKERS:
        calls = {
            "ours": lambda n=workers: consumed(reader(dataset, n), ignore),
            "theirs": lambda n=workers: consumed(torch_loader(dataset, n), ignore),
        }
        spent = in_turn(calls, repeats, per_second=1000 / len(dataset.ids))
        what = f"{name}, {workers} thread{'s' * (workers > 1)} or processes"
        yield Row.of(what, "DataLoader", "ms", spent["ours"], spent["theirs"])


def keeping_up(name: str, dataset: FileDataset, repeats: int) -> Iterator[Row]:
    """A loop with a model of 10 ms, over reading in the loop and over the model alone."""
    images = range(len(dataset.ids))
    for model, work in (("waits", wait), ("computes", Computes())):
        calls = {
            "ours": lambda w=work: consumed(reader(dataset, None), w),
            "reading in the loop": lambda w=work: consumed(map(dataset.load, images), w),
            "the model alone": lambda w=work: consumed(images, w),
        }
        spent = in_turn(calls, repeats, per_second=1000 / len(dataset.ids))
        ours = spent.pop("ours")
        for against, theirs in spent.items():
            yield Row.of(f"{name}, a model that {model} 10 ms", against, "ms", ours, theirs)


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


def consumed(samples: Iterable[object], work: Callable[[object], None]) -> None:
    """Work on every sample, starting the workers included."""
    for sample in samples:
        work(sample)


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
