"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import InitVar, dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from watchers import Watcher

from ovbench.errors import DataError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import DatasetInfo, Sample
from ovbench.harness.contract.progress import watching
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.files.images import write_label

# GNU readline, which pytest loads with pdb, tells all child processes of a terminal's width.
os.unsetenv("COLUMNS")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """Real images and labels in their original layouts, which are not part of the repository."""
    default = REPOSITORY.parent / "shared" / "data"
    path = Path(os.environ.get("OVBENCH_SAMPLE_DATA", default))
    if not path.is_dir():
        pytest.skip("no sample data here; set OVBENCH_SAMPLE_DATA")
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's cache: each has an empty one of its own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("OVBENCH_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session", autouse=True)
def _no_users_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nor does what tests share; and every fault is told as developers want it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVBENCH_DEBUG", "1")  # a fault keeps its traceback, for who looks for it
        patch.setenv("OVBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    """Watches the test."""
    one = Watcher()
    with watching(one):
        yield one


# What cannot be read is damaged on a disk, which no dataset holds.
BAD: dict[int, Sequence[int]] = {}


@dataclass
class MemoryDataset:
    """A few random images with random labels, some of which may be unreadable."""

    count: int = 12
    bad: InitVar[Sequence[int]] = ()
    info: DatasetInfo = field(default_factory=lambda: DatasetInfo("memory", "val", "class"))
    vocabulary: Vocabulary = field(
        default_factory=lambda: Vocabulary.of("cat", "dog", "bird", background=True)
    )

    def __post_init__(self, bad: Sequence[int]) -> None:
        self.spoil(*bad)

    def spoil(self, *indices: int) -> None:
        """Let these, and no others, be unreadable from now on."""
        BAD[id(self)] = indices

    @property
    def ids(self) -> list[str]:
        return [f"image-{i:03d}" for i in range(self.count)]

    def load(self, index: int) -> Sample:
        if index in BAD[id(self)]:
            raise DataError(f"image-{index:03d}.jpg: truncated")
        rng = np.random.default_rng(index)
        height, width = rng.integers(10, 30, size=2)
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        label = rng.integers(0, 4, (height, width), dtype=np.uint8)
        label[:2] = 255
        return Sample(self.ids[index], image, label)

    def decode(self, raw: LabelMap, source: Path) -> LabelMap:
        return raw


class KilledAfter:
    """An observer that kills its run once so many images are recorded."""

    def __init__(self, images: int) -> None:
        self.left = images

    def started(self, remaining: int, total: int) -> None: ...

    def recorded(self, image: str, confusion: object) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


class Thresholds:
    """A tiny deterministic segmenter: brightness decides the label."""

    def prepare(self, vocabulary: Vocabulary) -> None:
        self.labels = len(vocabulary)

    def segment(self, images, candidates=None):  # type: ignore[no-untyped-def]
        return [(image[..., 0].astype(np.uint16) * self.labels // 256).astype(np.uint8)
                for image in images]  # fmt: skip


@pytest.fixture
def memory_dataset() -> type[MemoryDataset]:
    return MemoryDataset


@pytest.fixture
def killed_after() -> type[KilledAfter]:
    return KilledAfter


@pytest.fixture
def thresholds() -> Thresholds:
    return Thresholds()


@pytest.fixture
def tiny_voc(tmp_path: Path) -> Path:
    """Five images in the exact layout and encoding of VOC 2012; returns the root."""
    home = tmp_path / "data" / "VOCdevkit" / "VOC2012"
    lists = home / "ImageSets" / "Segmentation"
    for folder in (home / "JPEGImages", home / "SegmentationClass", lists):
        folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    ids = [f"2007_{number:06d}" for number in (27, 33, 42, 61, 123)]
    for name in ids:
        height, width = rng.integers(30, 60, size=2)
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(image).save(home / "JPEGImages" / f"{name}.jpg")
        label = np.repeat(np.repeat(rng.integers(0, 21, (6, 6)), 10, 0), 10, 1)[:height, :width]
        label = label.astype(np.uint8)
        label[:, 5] = 255
        write_label(home / "SegmentationClass" / f"{name}.png", label)
    (lists / "val.txt").write_text("\n".join(ids) + "\n")
    return tmp_path / "data"
