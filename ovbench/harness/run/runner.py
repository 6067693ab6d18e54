"""The main loop: read, segment, count, record.

The images of a dataset are cut into batches once, in dataset order. A process takes whole
batches and a resumed run repeats whole batches, so the method sees the same batches however
often a run was killed and whatever number of processes shares it.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter as Counts
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ovbench.errors import OvbenchError, UsageError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.checks.typed import check_types, public
from ovbench.harness.contract.datasets import Dataset, Sample
from ovbench.harness.contract.filters import ClassFilter
from ovbench.harness.contract.progress import say
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.segmenters import Segmenter
from ovbench.harness.contract.stages import Measurement, measure
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.files.alone import alone_in
from ovbench.harness.files.below import leads_outside
from ovbench.harness.files.features import features_note
from ovbench.harness.files.loader import Loaded, prefetch
from ovbench.harness.metrics.scores import Confusion, check_ignore_label
from ovbench.harness.registry import held
from ovbench.harness.registry.filters import Filter
from ovbench.harness.registry.methods import UNREGISTERED, Method, Subject
from ovbench.harness.registry.presets import refuse_other_benchmark
from ovbench.harness.registry.settings_file import tuned_on
from ovbench.harness.registry.sources import plugins_in
from ovbench.harness.registry.state import State
from ovbench.harness.results.environment import device_name, environment
from ovbench.harness.results.fresh import settle, stage_of
from ovbench.harness.results.identity import code_of_dataset, conditions, untold
from ovbench.harness.results.parameters import count_parameters
from ovbench.harness.results.records import BadImage, ImageRecord, Session
from ovbench.harness.results.rescore import finish
from ovbench.harness.results.store import (
    RunStore,
    ShardWriter,
    default_directory,
    identity_digest,
    missing_folders,
    nothing_left_behind,
)
from ovbench.harness.run.asking import ask, prepare, takes_candidates
from ovbench.harness.run.beside import Beside
from ovbench.harness.run.counting import Candidates, ClassChoice, Counter, UnansweredRule
from ovbench.harness.run.distributed import World, join_world, passing_directory, share_cores
from ovbench.harness.run.portions import Portions
from ovbench.harness.run.prompted import PromptedPredictor
from ovbench.harness.run.seeding import seed_everything

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
        prepare(self.segmenter, self.vocabulary)
        return tuple(getattr(self.segmenter, "notes", ()))

    def predict(self, samples: Sequence[Sample], candidates: Candidates) -> Sequence[LabelMap]:
        """Segment the samples' images."""
        ids = [sample.id for sample in samples]
        return ask(self.segmenter, [s.image for s in samples], candidates, ids=ids)


@dataclass(frozen=True, slots=True)
class Options:
    """How to run; what changes a number is part of the run's identity.

    Attributes:
        classes: "all" asks for the whole vocabulary; "oracle" tells the method which classes
            the image's ground truth holds, as some released code does; "predicted" tells it
            which ones a class filter finds. Both mark the result.
        limit: only the first images, and marks the result.
        batch_size: images given to the method at once; half as many, and half of that, where
            memory does not suffice for them, which the result says.
        save_predictions: keep every label map in the run directory, as ``predictions/<id>.png``.
        skip_bad: record unreadable images and go on; the result is then incomplete.
        workers: threads that read ahead; None chooses by the machine.
        unanswered: what becomes of a scored pixel that a label file has no answer for, see
            :data:`~ovbench.harness.run.counting.UnansweredRule`; None for methods.
        fresh: measure again what the output directory holds. What it held goes when the new
            run is whole, and not before.
        command: as typed, for the result.
    """

    classes: ClassChoice = "all"
    limit: int | None = None
    batch_size: int = 1
    save_predictions: bool = False
    skip_bad: bool = False
    workers: int | None = None
    unanswered: UnansweredRule | None = None
    fresh: bool = False
    command: str = ""

    def __post_init__(self) -> None:
        check_types(self, counts=("limit", "batch_size", "workers"))


@public
def evaluate(
    method: Method | Segmenter,
    dataset: Dataset,
    *,
    class_filter: Filter | ClassFilter | None = None,
    output: Path | str | None = None,
    options: Options | None = None,
    observer: Observer | None = None,
) -> dict[str, Any] | None:
    """Measure a method on a dataset.

    Without ``output`` nothing is kept but what is returned. With it, a measurement that was cut
    short is gone on with, and one that is finished is read again; it is refused if the code of
    the method, the dataset or the filter is not what it was.

    Args:
        method: from :func:`~ovbench.harness.registry.methods.load_method`, or any segmenter.
        dataset: from :func:`~ovbench.datasets.load_dataset`, or any dataset.
        class_filter: for ``classes="predicted"``: from
            :func:`~ovbench.harness.registry.filters.load_filter`, or any class filter.
        output: the run directory.
        options: see :class:`Options`.
        observer: told of every image.

    Returns:
        The result, as written to ``result.json``; None on every process but the first.

    Raises:
        UsageError: an argument of another kind, the output directory holds another run, data
            is missing or corrupt, or a class filter is missing or not asked for.
        ContractError: the method's or the filter's answer breaks the protocol; names the image.
        OvbenchError: code of theirs ends the program; names the line.
    """
    run = run_of(method, dataset, class_filter=class_filter, options=options, observer=observer)
    return run.execute(None if output is None else Path(output))


def run_of(
    method: Method | Segmenter,
    dataset: Dataset,
    *,
    class_filter: Filter | ClassFilter | None = None,
    options: Options | None = None,
    observer: Observer | None = None,
) -> Run:
    """What :func:`evaluate` executes."""
    if not isinstance(method, Method):
        method = Method.of(method)
    if not isinstance(class_filter, Filter | None):
        class_filter = Filter.of(class_filter)
    predictor = predictor_for(method.segmenter, dataset.vocabulary, dataset.info.prompted)
    return Run(predictor, method.subject, dataset, options or Options(), observer, class_filter)


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
        if row := self.subject.published:
            refuse_other_benchmark(row, self.dataset.info)
        segmenter = getattr(self.predictor, "segmenter", None)
        if self.options.classes != "all" and segmenter and not takes_candidates(segmenter):
            raise UsageError(
                f"classes={self.options.classes!r}: segment of {self.subject.name} takes images "
                "only, so nobody can tell it which classes to answer within"
            )
        ids = self.ids
        if not ids:
            raise UsageError(f"{self.dataset.info.name}: holds no images")
        if len(set(ids)) < len(ids):
            twice = next(name for name, times in Counts(ids).items() if times > 1)
            raise UsageError(f"{self.dataset.info.name}: lists the image {twice} more than once")
        if strange := next(filter(leads_outside, ids), None):
            raise UsageError(
                f"{self.dataset.info.name}: the image {strange[:80]!r} would lie elsewhere"
            )
        check_ignore_label(self.dataset.info.ignore_label, len(self.dataset.vocabulary))

    def execute(self, output: Path | None, *, kept: bool = False) -> dict[str, Any] | None:
        """Do this process's share of what is left; see :func:`evaluate`.

        Args:
            kept: without ``output``, keep the run as ``runs/<method>-<dataset>-<id>``.
        """
        if self.options.save_predictions and output is None and not kept:
            raise UsageError("save_predictions needs an output directory to save them in")
        world = join_world()
        share_cores(world)
        try:
            given = self._given() if world.rank == 0 else {}
            # Each process may hold its own device: the first one's objects speak for all.
            states = world.broadcast({role: held.began(one) for role, one in given.items()})
            identity = self._identity(states)
            if output is None and kept:
                names = identity["method"]["name"], identity["dataset"]["name"]
                output = default_directory(*names, identity_digest(identity))
            unread = [name for state in states.values() for name in state.unread]
            try:
                with (
                    nullcontext(output) if output else passing_directory(world) as directory,
                    ExitStack() as alone,
                ):
                    return self._execute_in(directory, identity, world, unread, alone)
            finally:
                for one in given.values():
                    held.ended(one)
        finally:
            world.leave()

    def _execute_in(
        self,
        directory: Path,
        identity: Mapping[str, Any],
        world: World,
        unread: Sequence[str],
        alone: ExitStack,
    ) -> dict[str, Any] | None:
        start = _agree_on_start(world, identity, self.ids, directory, self.options.fresh, alone)
        if start.done and unread and world.rank == 0:
            warnings.warn(
                f"{directory}: {len(start.done)} images were measured before, maybe with other "
                f"values of {', '.join(unread)}, which nobody can read; Options(fresh=True) "
                "measures again",
                RuntimeWarning,
                stacklevel=5,
            )
        pending = self._pending(start.done)
        batches = pending[world.rank :: world.size]
        if batches:
            # Behind the shard's lock: what another process has begun there is not ours to remove.
            with ShardWriter(start.store, world.rank) as shard, start.nothing_left_behind(world):
                self._work(batches, start.done, start.store, shard, world)
        world.gather(None)
        if world.rank > 0:
            return None
        with start.nothing_left_behind(world) if batches else nullcontext():
            result = finish(start.store)
        settle(directory)
        if not pending:
            say(_measured_before(result))
        return result

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
        return self._identity({role: held.began(one) for role, one in self._given().items()})

    def _given(self) -> dict[str, object]:
        """The objects from Python whose state can move a number, by what they are here."""
        asked = self.class_filter
        method = getattr(self.predictor, "segmenter", None)
        given = {
            "the method": method if self.subject.version == UNREGISTERED else None,
            "the filter": asked.chooser if asked and asked.version == UNREGISTERED else None,
            "the dataset": untold(self.dataset),
        }
        return {role: one for role, one in given.items() if one is not None}

    def _identity(self, states: Mapping[str, State]) -> dict[str, Any]:
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
            "warnings": [*info.count_warnings(len(self.dataset.ids)), *subject.warnings],
            **({"filter": self.class_filter.identity()} if self.class_filter else {}),
            **({"tuning": tuned_on(subject.tuning, self.ids)} if subject.tuning else {}),
            **({"published": dict(subject.published)} if subject.published else {}),
            **({"trained": subject.trained.content()} if subject.trained else {}),
            "code": self._code(),
            **({"state": {role: state.digest for role, state in states.items()}} if states else {}),
        }

    def _code(self) -> dict[str, str]:
        """Digests of the source of everything that is asked."""
        asked = self.class_filter.code if self.class_filter else {}
        return {**self.subject.code, **asked, **code_of_dataset(self.dataset)}

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
        session = self._session(preparation, notes, world)
        shard.append([session])
        indices = [i for batch in batches for i in batch]
        if self.observer:
            ids = self.ids
            remaining = sum(ids[i] not in done for i in indices)
            self.observer.started(remaining, len(ids))
        counter = Counter(
            self.dataset.vocabulary,
            self.dataset.info.ignore_label,
            self.options.classes,
            self.options.unanswered,
        )
        seen = 0
        with (
            Beside(self._tell_all) as beside,
            closing(prefetch(self.dataset, indices, workers=self.options.workers)) as stream,
        ):

            def halved(size: int) -> None:
                beside.settle()
                shard.append([replace(session, fitting=size)])

            portions = Portions(self.options.batch_size, halved)
            for loaded, wait_s in _batched(stream, [len(b) for b in batches]):
                if any(item.sample is None for item in loaded):
                    beside.settle()  # the shard has one writer at a time
                samples = self._readable(loaded, shard)
                ask = partial(self._ask, counter, self.runtime.seed + loaded[0].index)
                for portion, (maps, candidates, spent) in portions.answered(samples, ask):
                    own = _unshared(maps)
                    count = partial(
                        counter.count,
                        portion,
                        own,
                        candidates,
                        spent,
                        self.runtime,
                        wait_s=wait_s * len(portion) / len(samples),
                        warmup=seen < WARMUP_IMAGES,
                    )
                    seen += len(portion)
                    beside.give(partial(self._record, count, own, store, shard, done))

    def _record(
        self,
        count: Callable[[], Sequence[ImageRecord]],
        maps: Sequence[LabelMap],
        store: RunStore,
        shard: ShardWriter,
        done: Collection[str],
    ) -> Sequence[ImageRecord]:
        """Count what was answered and write it down; returns what is new."""
        records = count()
        if self.options.save_predictions:
            store.save_predictions([record.image for record in records], maps)
        fresh = [record for record in records if record.image not in done]
        shard.append(fresh)
        return fresh

    def _tell_all(self, records: Sequence[ImageRecord]) -> None:
        for record in records:
            self._tell(record.image, record.confusion)

    def _ask(
        self, counter: Counter, seed: int, samples: Sequence[Sample]
    ) -> tuple[Sequence[LabelMap], Candidates, Measurement]:
        """Label maps, the candidates they were chosen from, and what they took."""
        # A method that draws from a global generator answers the same after a resume.
        seed_everything(seed)
        candidates = counter.candidates(samples)
        with measure(self.runtime.device) as spent:
            if self.class_filter:
                candidates = self.class_filter.select(samples, self.dataset.vocabulary)
            maps = self.predictor.predict(samples, candidates)
        return maps, candidates, spent

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
            environment=environment(self.runtime.device, plugins_in(self._code())),
            notes=[*notes, *features_note()],
            parameters=self._parameters(),
        )

    def _parameters(self) -> int | None:
        """Of the method; None where label maps come from files."""
        segmenter = getattr(self.predictor, "segmenter", None)
        return None if segmenter is None else count_parameters(segmenter)


def _unshared(maps: Sequence[LabelMap]) -> Sequence[LabelMap]:
    """Maps that stay what they are when the method is asked again, which may reuse its own."""
    return [one.copy() if isinstance(one, np.ndarray) else one for one in maps]


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a run stands when its processes begin.

    Attributes:
        done: the images that have a record.
        made: the folders that did not exist before, the innermost first.
    """

    store: RunStore
    done: frozenset[str]
    made: Sequence[Path]

    def nothing_left_behind(self, world: World) -> AbstractContextManager[None]:
        """A run that fails before its first record leaves no directory."""
        return nothing_left_behind(self.made, lambda: self.store.withdraw(world.rank))


def _agree_on_start(
    world: World,
    identity: Mapping[str, Any],
    images: Sequence[str],
    directory: Path,
    fresh: bool,
    alone: ExitStack,
) -> _Start:
    """Rank 0 claims the directory and reads what is done; the others take its word.

    Each process reading for itself would see what a faster one has already written, and the
    shares would overlap or leave gaps.

    Args:
        alone: keeps other commands out of the directory until it is closed.
    """
    if len(set(world.gather(identity_digest(identity)))) > 1:
        raise UsageError("the processes of this run were started with different arguments or data")
    answer: _Start | OvbenchError | None = None
    if world.rank == 0:
        try:
            answer = _start(identity, images, directory, fresh, alone)
        except OvbenchError as error:
            answer = error
    answer = world.broadcast(answer)
    if not isinstance(answer, _Start):
        assert answer is not None
        raise answer
    return answer


def _start(
    identity: Mapping[str, Any],
    images: Sequence[str],
    directory: Path,
    fresh: bool,
    alone: ExitStack,
) -> _Start:
    made = missing_folders(directory)
    alone.enter_context(alone_in(directory))
    settle(directory)
    store = RunStore(stage_of(directory, identity) if fresh else directory)
    made = [*missing_folders(store.path), *made]
    store.claim(identity, images)
    return _Start(store, frozenset(store.records().images), made)


def _batched(
    stream: Iterator[Loaded], sizes: Sequence[int]
) -> Iterator[tuple[list[Loaded], float]]:
    """Cut a stream into batches, each with the seconds that were spent waiting for it."""
    for size in sizes:
        start = time.perf_counter()
        batch = list(islice(stream, size))
        yield batch, time.perf_counter() - start


def _measured_before(result: Mapping[str, Any]) -> str:
    """That there was nothing to do, and how old what is shown is."""
    run, environment = result["run"], result["environment"]
    commit = environment.get("git_commit")
    version = environment.get("packages", {}).get("ovbench", "unknown")
    made = f"{run['started'][:10]}, ovbench {version}" + (
        f", commit {commit[:8]}" if commit else ""
    )
    return f"all {run['num_images']} images were measured before ({made}); --fresh measures again"
