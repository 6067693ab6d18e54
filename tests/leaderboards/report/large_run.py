"""A run as large as COCO-Stuff's, without a method: 5,000 images, 171 classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import DatasetInfo, Sample
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.metrics.boundary import BoundaryAreas
from ovbench.harness.metrics.scores import Confusion
from ovbench.harness.registry.methods import Subject
from ovbench.harness.results.identity import conditions
from ovbench.harness.results.records import Cost, ImageRecord, Session
from ovbench.harness.results.store import RunStore, ShardWriter
from ovbench.harness.results.summary import summarise

IMAGES, CLASSES = 5000, 171


@dataclass(frozen=True)
class Photographs:
    """Noisy pictures as small as they are shown: real ones, made smaller, compress better."""

    info: DatasetInfo = field(default_factory=lambda: DatasetInfo("photographs", "val", "none"))
    vocabulary: Vocabulary = field(
        default_factory=lambda: Vocabulary.of(*(f"a class {i}" for i in range(CLASSES)))
    )
    ids: tuple[str, ...] = tuple(f"{i:012d}" for i in range(IMAGES))

    def load(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((320, 240), Image.Resampling.BICUBIC), np.float32)
        image = np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)
        return Sample(self.ids[index], image, regions(rng))

    def decode(self, raw: LabelMap, source: Path) -> LabelMap:
        return raw


@dataclass(frozen=True)
class Drawn:
    """An answer that is none of the record's."""

    labels: LabelMap
    again: bool = True
    problem: str = ""


class Answers:
    differences = ()

    def answer(self, sample: Sample) -> Drawn:
        return Drawn(regions(np.random.default_rng(int(sample.id) + IMAGES)))


def regions(rng: np.random.Generator) -> LabelMap:
    """A label map of a dozen regions with curved borders."""
    height, width = np.mgrid[:240, :320]
    seeds = rng.random((12, 2)) * (240, 320)
    labels = rng.integers(0, CLASSES, 12)
    distances = [np.hypot(height - y, width - x) * rng.uniform(0.7, 1.3) for y, x in seeds]
    return labels[np.argmin(distances, axis=0)].astype(np.uint8)


def write_large_run(path: Path) -> Path:
    dataset, rng = Photographs(), np.random.default_rng(0)
    subject = Subject("synthetic", "1", Runtime())
    identity = {
        **conditions(subject, dataset, dataset.ids),
        "method": {"name": "synthetic", "version": "1", "preset": None, "changes": {}},
        "classes": "all", "limit": None, "warnings": [],
    }  # fmt: skip
    store = RunStore(path)
    store.claim(identity, dataset.ids)
    session = Session("2026-01-01T00:00:00+00:00", "", 0, 1, 1, "cpu", 1.0, {}, {"python": "3"})
    with ShardWriter(store, 0) as shard:
        shard.append([session, *(record(name, rng) for name in dataset.ids)])
    store.write_result(summarise(identity, store.records()))
    return path


def record(name: str, rng: np.random.Generator) -> ImageRecord:
    """Eight classes, some of each taken for another one."""
    labels = np.sort(rng.choice(CLASSES, 8, replace=False))
    codes = [(t, a) for t in labels for a in {int(t), int(rng.integers(CLASSES))}]
    gt, pred = np.array(sorted(codes), np.int32).T
    none = np.zeros(0, np.int64)
    cost = Cost(0.001, float(rng.gamma(4, 0.05)), 0.001, {"encode": 0.1, "match": 0.05})
    counted = Confusion(gt, pred, rng.integers(1, 20_000, len(gt)))
    return ImageRecord(name, 640 * 640, counted, BoundaryAreas(none, none, none, none), cost)
