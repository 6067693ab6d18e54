"""The main loop: read, segment, count, record.

The images of a dataset are cut into batches once, in dataset order. A process takes whole
batches and a resumed run repeats whole batches, so the method sees the same batches however
often a run was killed and whatever number of processes shares it.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ovbench.errors import OvbenchError, UsageError
from ovbench.harness.counting import Candidates, ClassChoice, Counter
from ovbench.harness.distributed import World, join_world
from ovbench.harness.environment import device_name, environment
from ovbench.harness.filters import Filter
from ovbench.harness.identity import conditions
from ovbench.harness.loader import Loaded, prefetch
from ovbench.harness.methods import Method, Subject
from ovbench.harness.metrics import Confusion
from ovbench.harness.parameters import count_parameters
from ovbench.harness.profiler import Measurement, measure
from ovbench.harness.prompted import PromptedPredictor
from ovbench.harness.protocol import (
    ClassFilter,
    Dataset,
    LabelMap,
    Runtime,
    Sample,
    Segmenter,
    Vocabulary,
)
from ovbench.harness.records import BadImage, Session
from ovbench.harness.rescore import finish
from ovbench.harness.store import RunStore, ShardWriter, default_directory, identity_digest

# As detectron2's evaluation loop: the first images pay for lazy initialisation.
WARMUP_IMAGES = 5


class Observer(Protocol):
    """Watches a run, to show its progress."""

    def started(self, remaining: int, total: int) -> None:
        """This process is about to segment ``remaining`` of the run's ``total`` images."""

    def recorded(self, image: str, confusion: Confusion | None) -> None:
        """One more image is done; None where it was bad and skipped."""


class Predictor(Protocol):
    """What turns samples into label maps: a method, or files made elsewhere."""

    def prepare(self) -> Sequence[str]:
        """Do what is done once; returns what the result should say of it."""
        ...

    def predict(self, samples: Sequence[Sample], candidates: Candidates) -> Sequence[LabelMap]:
        """One label map per sample."""
        ...


@dataclass(frozen=True, slots=True)
class SegmenterPredictor:
    """Asks a method, which sees the image and nothing else of the sample."""

    segmenter: Segmenter
    vocabulary: Vocabulary

    def prepare(self) -> Sequence[str]:
        """Prepare the method for the dataset's vocabulary; returns its ``notes``."""
        self.segmenter.prepare(self.vocabulary)
        return tuple(getattr(self.segmenter, "notes", ()))

    def predict(self, samples: Sequence[Sample], candidates: Candidates) -> Sequence[LabelMap]:
        """Segment the samples' images."""
        return self.segmenter.segment([s.image for s in samples], candidates)


@dataclass(frozen=True, slots=True)
class Options:
    """How to run; what changes a number is part of the run's identity.

    Attributes:
        classes: "all" asks for the whole vocabulary; "oracle" tells the method which classes
            the image's ground truth holds, as some released code does; "predicted" tells it
            which ones a class filter finds. Both mark the result.
        limit: only the first images, and marks the result.
        batch_size: images given to the method at once.
        save_predictions: keep every label map in the run directory, as ``predictions/<id>.png``.
        skip_bad: record unreadable images and go on; the result is then incomplete.
        workers: threads that read ahead; None chooses by the machine.
        allow_ignored: predictions may hold the ignore label where the ground truth does.
        command: as typed, for the result.
    """

    classes: ClassChoice = "all"
    limit: int | None = None
    batch_size: int = 1
    save_predictions: bool = False
    skip_bad: bool = False
    workers: int | None = None
    allow_ignored: bool = False
    command: str = ""

    def __post_init__(self) -> None:
        for name in ("limit", "batch_size", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name.replace('_', '-')} {value}: must be at least 1")


def evaluate(
    method: Method | Segmenter,
    dataset: Dataset,
    *,
    class_filter: Filter | ClassFilter | None = None,
    output: Path | str | None = None,
    options: Options | None = None,
    observer: Observer | None = None,
) -> dict[str, Any] | None:
    """Measure a method on a dataset, or finish a measurement that was cut short.

    Args:
        method: from :func:`~ovbench.harness.methods.load_method`, or any segmenter.
        dataset: from :func:`~ovbench.datasets.load_dataset`, or any dataset.
        class_filter: for ``classes="predicted"``: from
            :func:`~ovbench.harness.filters.load_filter`, or any class filter.
        output: the run directory; the default is ``runs/<method>-<dataset>-<id>``.
        options: see :class:`Options`.
        observer: told of every image.

    Returns:
        The result, as written to ``result.json``; None on every process but the first.

    Raises:
        UsageError: the output directory holds another run, data is missing or corrupt, or a
            class filter is missing or not asked for.
        ContractError: the method's or the filter's answer breaks the protocol; names the image.
    """
    if not isinstance(method, Method):
        method = Method.of(method)
    if not isinstance(class_filter, Filter | None):
        class_filter = Filter.of(class_filter)
    predictor = predictor_for(method.segmenter, dataset.vocabulary, dataset.info.prompted)
    run = Run(predictor, method.subject, dataset, options or Options(), observer, class_filter)
    return run.execute(None if output is None else Path(output))


def predictor_for(segmenter: Segmenter, vocabulary: Vocabulary, prompted: bool) -> Predictor:
    """Asks a method for a dataset's vocabulary, or, where it is prompted, for each sample's own."""
    if prompted:
        return PromptedPredictor(segmenter)
    return SegmenterPredictor(segmenter, vocabulary)


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement: what answers, on what, and how.

    Attributes:
        predictor: is asked.
        subject: what the result says was asked.
        class_filter: tells the predictor which classes an image holds, for
            ``classes="predicted"``.
    """

    predictor: Predictor
    subject: Subject
    dataset: Dataset
    options: Options
    observer: Observer | None = None
    class_filter: Filter | None = None

    def __post_init__(self) -> None:
        if (self.options.classes == "predicted") != (self.class_filter is not None):
            raise UsageError("classes='predicted' and a class filter go together")
        if self.dataset.info.prompted and self.options.classes != "all":
            raise UsageError(
                f"{self.dataset.info.name} asks for each image's own class; "
                f"classes={self.options.classes!r} does not apply"
            )

    def execute(self, output: Path | None) -> dict[str, Any] | None:
        """Do this process's share of what is left; see :func:`evaluate`."""
        world = join_world()
        try:
            identity = self.identity()
            store, done = _agree_on_start(world, identity, self.ids, output)
            batches = self._pending(done)[world.rank :: world.size]
            if batches:
                with ShardWriter(store, world.rank) as shard:
                    self._work(batches, done, store, shard, world)
            world.gather(None)
            return finish(store) if world.rank == 0 else None
        finally:
            world.leave()

    @property
    def runtime(self) -> Runtime:
        """Where and how the method computes."""
        return self.subject.runtime

    @property
    def ids(self) -> Sequence[str]:
        """The images of this run."""
        return self.dataset.ids[: self.options.limit]

    def identity(self) -> dict[str, Any]:
        """Everything that can move a number of this run."""
        subject, info = self.subject, self.dataset.info
        return {
            **conditions(subject, self.dataset, self.ids),
            "method": {
                "name": subject.name,
                "version": subject.version,
                "preset": subject.preset,
                "changes": dict(subject.changes),
            },
            "classes": self.options.classes,
            "limit": self.options.limit,
            "warnings": info.count_warnings(len(self.dataset.ids)),
            **({"filter": self.class_filter.identity()} if self.class_filter else {}),
        }

    def _pending(self, done: Collection[str]) -> list[Sequence[int]]:
        """The batches with an image that has no record yet."""
        ids, size = self.ids, self.options.batch_size
        batches = [range(s, min(s + size, len(ids))) for s in range(0, len(ids), size)]
        return [b for b in batches if any(ids[i] not in done for i in b)]

    def _work(
        self,
        batches: Sequence[Sequence[int]],
        done: Collection[str],
        store: RunStore,
        shard: ShardWriter,
        world: World,
    ) -> None:
        seed_everything(self.runtime.seed)
        with measure(self.runtime.device) as preparation:
            if self.class_filter:
                self.class_filter.prepare(self.dataset.vocabulary)
            notes = self.predictor.prepare()
        shard.append([self._session(preparation, notes, world)])
        indices = [i for batch in batches for i in batch]
        if self.observer:
            ids = self.ids
            remaining = sum(ids[i] not in done for i in indices)
            self.observer.started(remaining, len(ids))
        counter = Counter(
            self.dataset.vocabulary,
            self.dataset.info.ignore_label,
            self.options.classes,
            self.options.allow_ignored,
        )
        seen = 0
        with closing(prefetch(self.dataset, indices, workers=self.options.workers)) as stream:
            for loaded, wait_s in _batched(stream, [len(b) for b in batches]):
                # A method that draws from a global generator answers the same after a resume.
                seed_everything(self.runtime.seed + loaded[0].index)
                samples = self._readable(loaded, shard)
                if not samples:
                    continue
                candidates = counter.candidates(samples)
                with measure(self.runtime.device) as spent:
                    if self.class_filter:
                        candidates = self.class_filter.select(samples, self.dataset.vocabulary)
                    maps = self.predictor.predict(samples, candidates)
                warmup = seen < WARMUP_IMAGES
                records = counter.count(
                    samples, maps, candidates, spent, self.runtime, wait_s=wait_s, warmup=warmup
                )
                seen += len(samples)
                if self.options.save_predictions:
                    store.save_predictions([sample.id for sample in samples], maps)
                fresh = [record for record in records if record.image not in done]
                shard.append(fresh)
                for record in fresh:
                    self._tell(record.image, record.confusion)

    def _readable(self, loaded: Sequence[Loaded], shard: ShardWriter) -> list[Sample]:
        samples = []
        for item in loaded:
            if item.sample is not None:
                samples.append(item.sample)
            elif item.error is not None and self.options.skip_bad:
                image = self.ids[item.index]
                shard.append([BadImage(image, str(item.error))])
                self._tell(image, None)
            elif item.error is not None:
                raise item.error
        return samples

    def _tell(self, image: str, confusion: Confusion | None) -> None:
        if self.observer:
            self.observer.recorded(image, confusion)

    def _session(self, preparation: Measurement, notes: Sequence[str], world: World) -> Session:
        return Session(
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            command=self.options.command,
            rank=world.rank,
            world_size=world.size,
            batch_size=self.options.batch_size,
            device=device_name(self.runtime.device),
            prepare_s=round(preparation.total_s, 6),
            prepare_stages_s={name: round(s, 6) for name, s in preparation.stages_s.items()},
            environment=environment(self.runtime.device),
            notes=notes,
            parameters=self._parameters(),
        )

    def _parameters(self) -> int | None:
        """Of the method; None where label maps come from files."""
        segmenter = getattr(self.predictor, "segmenter", None)
        return None if segmenter is None else count_parameters(segmenter)


def seed_everything(seed: int) -> None:
    """Seed the global generators that third-party code may draw from."""
    random.seed(seed)
    np.random.seed(seed)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)


def _agree_on_start(
    world: World, identity: Mapping[str, Any], images: Sequence[str], output: Path | None
) -> tuple[RunStore, frozenset[str]]:
    """Rank 0 claims the directory and reads what is done; the others take its word.

    Each process reading for itself would see what a faster one has already written, and the
    shares would overlap or leave gaps.
    """
    digest = identity_digest(identity)
    if len(set(world.gather(digest))) > 1:
        raise UsageError("the processes of this run were started with different arguments or data")
    names = identity["method"]["name"], identity["dataset"]["name"]
    store = RunStore(output or default_directory(*names, digest))
    answer: frozenset[str] | OvbenchError = frozenset()
    if world.rank == 0:
        try:
            store.claim(identity, images)
            answer = frozenset(store.records().images)
        except OvbenchError as error:
            answer = error
    answer = world.broadcast(answer)
    if isinstance(answer, OvbenchError):
        raise answer
    return store, answer


def _batched(
    stream: Iterator[Loaded], sizes: Sequence[int]
) -> Iterator[tuple[list[Loaded], float]]:
    """Cut a stream into batches, each with the seconds that were spent waiting for it."""
    for size in sizes:
        start = time.perf_counter()
        batch = list(islice(stream, size))
        yield batch, time.perf_counter() - start
