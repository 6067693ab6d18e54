"""Time what a run adds to a model of 10 ms.

    python -m benchmarks.overhead [--images 200] [--repeats 5]

Photographs and label maps of the sizes of VOC (500 x 375, 21 labels) and COCO (640 x 480, 81 and
171 labels) are written to a temporary folder. The model resizes a picture, computes, takes the
arg-max and hands a NumPy array of the picture's size back. One works on the CPU for 10 ms, in one
thread of PyTorch; the other waits as long, as for a GPU. The run is that of ``ovbench run``: label
maps are read, pixels and boundaries counted, records written and progress told, as in a log.
Against it, in turn:

- a loop that reads its pictures, and no labels, as it comes to them: what one would write first;
- the same that reads ahead in a thread: what a careful user writes;
- the model on pictures that lie in memory.

The loops count nothing and keep nothing. An image's time is that from the tenth image on; a row of
whole runs has start and finish, too. Beside the time of the wall clock stands how much more time
of a core the main thread took, how much longer it waited for one (where Linux tells), and how much
more all threads took.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from benchmarks.comparison import Row, show
from benchmarks.confusion import IGNORE, blobs
from benchmarks.datasets import MODEL_S, SIZES, made
from ovbench.cli.progress.run import observer
from ovbench.datasets.reading.encoding import LabelEncoding
from ovbench.datasets.reading.files import FileDataset
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.metrics.scores import Confusion
from ovbench.harness.run.runner import Observer, evaluate

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint8]
CASES = (("VOC", 21), ("COCO", 81), ("COCO", 171))
SIDE, WIDTH, LEFT_OUT = 112, 32, 10
SCHEDULED = Path("/proc/thread-self/schedstat")


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
    for name, labels in CASES:
        with tempfile.TemporaryDirectory() as folder:
            dataset = opened(Path(folder), SIZES[name], labels, images)
            for verb, waits in (("computes", False), ("waits", True)):
                model = Model(labels, waits=waits)
                what = f"{name}, {labels} labels, a model that {verb} {MODEL_S * 1000:.0f} ms"
                yield from compared(what, dataset, model, repeats)


def opened(folder: Path, size: tuple[int, int], labels: int, count: int) -> FileDataset:
    """Photographs with ``labels`` labels, in VOC's layout."""

    def drawn(rng: np.random.Generator, size: tuple[int, int]) -> Labels:
        return blobs(rng, *size, labels)

    return labelled(made(folder, size, count, drawn), labels)


def labelled(dataset: FileDataset, labels: int) -> FileDataset:
    """The dataset with names for its labels."""
    names = Vocabulary.of(*(f"class {number}" for number in range(1, labels)), background=True)
    encoding = LabelEncoding.of("voc", {n: n for n in (*range(labels), IGNORE)})
    return replace(dataset, vocabulary=names, encoding=encoding)


def compared(what: str, dataset: FileDataset, model: Model, repeats: int) -> Iterator[Row]:
    """A run against every loop."""
    model.fit(dataset.load(0).image)
    files = [dataset.images.source(name) for name in dataset.ids]
    pictures = [read(file) for file in files]
    contestants: dict[str, Callable[[], Spent]] = {
        "ours": lambda: run(dataset, model),
        "a loop that reads": lambda: loop(map(read, files), model),
        "a loop that reads ahead": lambda: loop(ahead(files), model),
        "the model alone": lambda: loop(pictures, model),
    }
    turns = [{name: call() for name, call in contestants.items()} for _ in range(repeats + 1)][1:]
    ours = [turn["ours"] for turn in turns]
    for against in list(contestants)[1:]:
        theirs = [turn[against] for turn in turns]
        row = Row.of(what, against, "ms", [s.wall for s in ours], [s.wall for s in theirs])
        yield replace(row, note=in_words(ours, theirs))
    theirs = [turn["a loop that reads ahead"] for turn in turns]
    took = [s.whole for s in ours], [s.whole for s in theirs]
    yield Row.of(f"{what}, whole run", "a loop that reads ahead", "ms", *took)


def in_words(ours: Sequence[Spent], theirs: Sequence[Spent]) -> str:
    """Cores' time beside the clock's."""
    pairs = list(zip(ours, theirs, strict=True))
    main = median(own.main - other.main for own, other in pairs)
    waited = median(own.waited - other.waited for own, other in pairs)
    cores = median(own.cores - other.cores for own, other in pairs)
    return f"main thread {main:+.2f} ms, its waits {waited:+.2f}, all threads {cores:+.2f}"


@dataclass
class Spent:
    """Milliseconds an image, of the wall clock and of cores, from the tenth image on.

    Attributes:
        wall: by the wall clock.
        main: of a core, by the main thread.
        cores: of cores, by all threads.
        waited: by the wall clock, until the main thread had a core.
        whole: by the wall clock, start and finish and all images included.
    """

    wall: float
    main: float
    cores: float
    waited: float
    whole: float


@dataclass
class Clocks:
    """Notes what the clocks say whenever an image is done."""

    begin: float = field(default_factory=time.perf_counter)
    images: int = 0
    first: tuple[float, ...] = ()

    def note(self) -> None:
        """One more image is done."""
        self.images += 1
        if self.images == LEFT_OUT:
            self.first = self._seen()

    @property
    def spent(self) -> Spent:
        """An image's share, if it was the last one that was noted just now."""
        pairs = zip(self._seen(), self.first, strict=True)
        each = (1000 * (now - then) / (self.images - LEFT_OUT) for now, then in pairs)
        wall, main, cores, waited = each
        whole = 1000 * (time.perf_counter() - self.begin) / self.images
        return Spent(wall, main, cores, waited, whole)

    @staticmethod
    def _seen() -> tuple[float, ...]:
        return time.perf_counter(), time.thread_time(), time.process_time(), without_core()


def without_core() -> float:
    """Seconds in which this thread could have gone on but had no core; 0 where nobody tells."""
    try:
        return int(SCHEDULED.read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


@dataclass
class Watched:
    """Tells the progress of the command line, and notes the clocks.

    Attributes:
        spent: known with the last image.
    """

    shown: Observer
    images: int
    clocks: Clocks = field(default_factory=Clocks)
    spent: Spent | None = None

    def started(self, remaining: int, total: int) -> None:
        """See :class:`~ovbench.harness.run.runner.Observer`."""
        self.shown.started(remaining, total)

    def recorded(self, image: str, confusion: Confusion | None) -> None:
        """See :class:`~ovbench.harness.run.runner.Observer`."""
        self.shown.recorded(image, confusion)
        self.clocks.note()
        if self.clocks.images == self.images:
            self.spent = self.clocks.spent


def run(dataset: FileDataset, model: Model) -> Spent:
    """A whole run, as the command does it."""
    with tempfile.TemporaryDirectory() as folder, observer("overhead", dataset) as shown:
        assert shown is not None
        watched = Watched(shown, len(dataset.ids))
        evaluate(model, dataset, output=Path(folder) / "run", observer=watched)
        whole = 1000 * (time.perf_counter() - watched.clocks.begin) / len(dataset.ids)
    assert watched.spent is not None
    return replace(watched.spent, whole=whole)


def loop(pictures: Iterable[Pixels], model: Model) -> Spent:
    """The bare loop."""
    clocks = Clocks()
    for picture in pictures:
        model.segment([picture])
        clocks.note()
    return clocks.spent


def read(file: Path) -> Pixels:
    """A picture as a user reads it."""
    with Image.open(file) as picture:
        return np.array(picture.convert("RGB"))


def ahead(files: Sequence[Path]) -> Iterator[Pixels]:
    """Pictures, four of which are read ahead in a thread."""
    with ThreadPoolExecutor(1) as pool:
        rest = iter(files)
        waiting = deque(pool.submit(read, file) for file in islice(rest, 4))
        while waiting:
            picture = waiting.popleft().result()
            waiting.extend(pool.submit(read, file) for file in islice(rest, 1))
            yield picture


class Model:
    """Convolutions of random weights on a picture of 112 x 112, or a wait in their place.

    Attributes:
        layers: convolutions; each takes about a third of a millisecond.
    """

    def __init__(self, labels: int, *, waits: bool) -> None:
        torch.manual_seed(0)
        self._waits = waits
        self._stem = nn.Conv2d(3, WIDTH, 3, stride=2, padding=1).eval()
        self._layer = nn.Conv2d(WIDTH, WIDTH, 3, padding=1).eval()
        self._head = nn.Conv2d(WIDTH, labels, 1).eval()
        self.layers, self._wait_s = 1, 0.0

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Nothing depends on the names."""

    def fit(self, picture: Pixels, seconds: float = MODEL_S) -> None:
        """Take as long as it should, by layers or by waiting."""
        self.layers, self._wait_s = (0, 0.0) if self._waits else (4, 0.0)
        if self._waits:
            self._wait_s = seconds - timed(lambda: self.segment([picture]))
            return
        rest = timed(lambda: self._few(picture))
        for _ in range(3):  # a first guess from few layers can be half of what it should be
            took = timed(lambda: self.segment([picture]))
            self.layers = max(1, round(self.layers * (seconds - rest) / (took - rest)))

    def _few(self, picture: Pixels) -> None:
        layers, self.layers = self.layers, 0
        self.segment([picture])
        self.layers = layers

    @torch.inference_mode()
    def segment(self, images: Sequence[Pixels], candidates: Any = None) -> list[Labels]:
        """Label maps of the pictures' sizes."""
        return [self._segmented(image) for image in images]

    def _segmented(self, image: Pixels) -> Labels:
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
        small = functional.interpolate(pixels, (SIDE, SIDE), mode="nearest-exact").float() / 255
        features = self._stem(functional.avg_pool2d(small, 7, 1, 3))
        for _ in range(self.layers):
            features = functional.relu(self._layer(features) + features)
        if self._waits:
            time.sleep(self._wait_s)
        labels = self._head(features).argmax(dim=1, keepdim=True).to(torch.uint8)
        labels = functional.interpolate(labels, image.shape[:2], mode="nearest")
        found: Labels = labels[0, 0].numpy()
        return found


def timed(call: Callable[[], object]) -> float:
    """Median seconds of a core."""
    took = []
    for _ in range(15):
        start = time.thread_time()
        call()
        took.append(time.thread_time() - start)
    return median(took)


if __name__ == "__main__":
    main()
