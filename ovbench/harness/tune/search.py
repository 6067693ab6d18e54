"""Tuning: try settings in random order, keep every trial, take the best.

The output directory::

    tune.json       identity, written first, never changed
    trials.jsonl    one line per finished trial, appended to while searching
    settings.json   the best settings, written last; what ``--settings`` reads

A search that is killed goes on behind its last finished trial. The weakly supervised random
search is that of PnP-OVSS (Luo et al., CVPR 2024, section 3.4).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from ovbench.errors import ContractError, UsageError
from ovbench.harness.contract.checks.typed import check_types
from ovbench.harness.contract.datasets import Dataset
from ovbench.harness.contract.tuning import Example, Phase
from ovbench.harness.files.alone import alone_in
from ovbench.harness.files.json_files import write_json
from ovbench.harness.files.loader import prefetch
from ovbench.harness.registry.methods import package_version
from ovbench.harness.registry.tuners import Tunable
from ovbench.harness.results.identity import conditions
from ovbench.harness.results.store import (
    claim,
    default_directory,
    identity_digest,
    missing_folders,
    nothing_left_behind,
)
from ovbench.harness.run.counting import present_labels
from ovbench.harness.run.distributed import World, passing_directory
from ovbench.harness.run.seeding import seed_everything
from ovbench.harness.tune.trials import Trial, TrialLog, best_of, phase_summary, trial_order


class Observer(Protocol):
    """Watches a search, to show its progress."""

    def started(self, remaining: int, total: int) -> None:
        """``remaining`` of the search's ``total`` trials are about to be made."""

    def tried(self, trial: Trial, best: Trial) -> None:
        """One more trial is finished; ``best`` is the best of its phase so far."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to search.

    Attributes:
        trials: per phase; None tries every combination.
        limit: only the first images.
        batch_size: images given to the tuner at once.
    """

    trials: int | None = 34
    limit: int | None = 100
    batch_size: int = 1

    def __post_init__(self) -> None:
        check_types(self, counts=("trials", "limit", "batch_size"))


def load_examples(dataset: Dataset, limit: int | None = None) -> list[Example]:
    """Images and their classes; images without a class are left out.

    Raises:
        UsageError: no image has a class, one cannot be read, or the dataset has prompts.
    """
    if dataset.info.prompted:
        raise UsageError(f"{dataset.info.name} asks for each image's own class: tune elsewhere")
    indices = range(len(dataset.ids))[:limit]
    examples = []
    with closing(prefetch(dataset, indices)) as stream:
        for loaded in stream:
            if loaded.sample is None:
                assert loaded.error is not None
                raise loaded.error
            sample = loaded.sample
            present = present_labels(sample.label, dataset.vocabulary, dataset.info.ignore_label)
            if present:
                examples.append(Example(sample.id, sample.image, present))
    if not examples:
        raise UsageError(f"none of the {len(indices)} images shows a class; take more of them")
    return examples


def tune(
    tunable: Tunable,
    dataset: Dataset,
    *,
    output: Path | None = None,
    options: Options | None = None,
    observer: Observer | None = None,
) -> dict[str, Any]:
    """Search the best settings, or finish a search that was cut short.

    Args:
        tunable: from :func:`~ovbench.harness.registry.tuners.load_tuner`.
        dataset: only its images and the classes in them are used.
        output: the directory; without one nothing is kept but what is returned.

    Returns:
        What is written to ``settings.json``.

    Raises:
        UsageError: the directory holds another search, or data is missing or corrupt.
        ContractError: the tuner's answer breaks its contract.
    """
    search = Search(tunable, dataset, options or Options(), observer)
    with nullcontext(output) if output else passing_directory(World()) as directory:
        return search.execute(directory)


@dataclass(frozen=True, slots=True)
class Search:
    """One search: of whose settings, on what, and how."""

    tunable: Tunable
    dataset: Dataset
    options: Options
    observer: Observer | None = None

    def identity(self) -> dict[str, Any]:
        """Everything that can move a reward or the order of the trials."""
        subject = self.tunable.subject
        return {
            **conditions(subject, self.dataset, self.dataset.ids[: self.options.limit]),
            "method": {"name": subject.name, "version": subject.version},
            "trials": self.options.trials,
            "phases": [asdict(phase) for phase in self.tunable.phases],
        }

    def directory(self) -> Path:
        """Where the search goes if its user does not say."""
        names = f"tune-{self.tunable.subject.name}", self.dataset.info.name
        return default_directory(*names, identity_digest(self.identity()))

    def execute(self, directory: Path) -> dict[str, Any]:
        """Make the trials that are left; see :func:`tune`."""
        made = missing_folders(directory)
        with alone_in(directory):
            claim(directory / "tune.json", self.identity(), "search")
            return self._search(directory, made)

    def _search(self, directory: Path, made: Sequence[Path]) -> dict[str, Any]:
        with (
            TrialLog(directory / "trials.jsonl") as log,
            nothing_left_behind(made, lambda: _withdraw(directory)),
        ):
            examples = load_examples(self.dataset, self.options.limit)
            self._start(log)
            summaries: list[dict[str, Any]] = []
            best: dict[str, Any] = {}
            for phase in self.tunable.phases:
                trials = self._phase(phase, best, examples, log)
                best = dict(best_of(trials).values)
                summaries.append(phase_summary(phase, trials))
            content = self._content(best, summaries, examples)
            write_json(directory / "settings.json", content)
        return content

    def _order(self, phase: Phase) -> list[dict[str, Any]]:
        return trial_order(phase, self.options.trials, self.tunable.subject.runtime.seed)

    def _start(self, log: TrialLog) -> None:
        total = sum(len(self._order(phase)) for phase in self.tunable.phases)
        remaining = total - len(log.finished)
        if remaining:
            seed_everything(self.tunable.subject.runtime.seed)
            self.tunable.tuner.prepare(self.dataset.vocabulary)
        if self.observer:
            self.observer.started(remaining, total)

    def _phase(
        self, phase: Phase, kept: Mapping[str, Any], examples: Sequence[Example], log: TrialLog
    ) -> list[Trial]:
        trials: list[Trial] = []
        for number, choice in enumerate(self._order(phase)):
            trial = log.finished.get((phase.name, number))
            if trial is not None:
                trials.append(trial)
                continue
            trial = self._trial(phase.name, number, {**kept, **choice}, examples)
            log.append(trial)
            trials.append(trial)
            if self.observer:
                self.observer.tried(trial, best_of(trials))
        return trials

    def _trial(
        self, phase: str, number: int, values: Mapping[str, Any], examples: Sequence[Example]
    ) -> Trial:
        # A tuner that draws from a global generator answers the same after a resume.
        seed_everything(self.tunable.subject.runtime.seed)
        start = time.perf_counter()
        rewards: list[float] = []
        for first in range(0, len(examples), self.options.batch_size):
            batch = examples[first : first + self.options.batch_size]
            rewards += _checked(self.tunable.tuner.rewards(values, batch), batch)
        total = math.fsum(rewards)
        pairs = sum(len(example.present) for example in examples)
        seconds = round(time.perf_counter() - start, 3)
        return Trial(phase, number, values, total, total / pairs, rewards, seconds)

    def _images(self, examples: Sequence[Example]) -> list[str]:
        """What the settings were tuned on, those that the search started from included."""
        before = (self.tunable.subject.tuning or {}).get("images", [])
        return list(dict.fromkeys([*before, *(example.id for example in examples)]))

    def _content(
        self,
        best: Mapping[str, Any],
        summaries: Sequence[Mapping[str, Any]],
        examples: Sequence[Example],
    ) -> dict[str, Any]:
        identity = self.identity()
        dataset = identity["dataset"]
        return {
            "method": self.tunable.subject.name,
            "settings": {**self.tunable.given, **best},
            "tuning": {
                "dataset": dataset["name"],
                "split": dataset["split"],
                "vocabulary": identity["vocabulary"]["source"],
                "num_images": dataset["num_images"],
                "num_examples": len(examples),
                "ids_sha256": dataset["ids_sha256"],
                "images": self._images(examples),
                "seed": identity["seed"],
                "precision": identity["precision"],
                "trials": self.options.trials,
                "phases": list(summaries),
                "checkpoints": identity["checkpoints"],
                "ovbench": package_version("ovbench"),
            },
        }


def _withdraw(directory: Path) -> bool:
    """Remove a search without a trial."""
    trials = directory / "trials.jsonl"
    empty = not trials.stat().st_size
    if empty:
        for file in (trials, directory / "tune.json"):
            file.unlink()
    return empty


def _checked(rewards: Sequence[float], examples: Sequence[Example]) -> list[float]:
    if len(rewards) != len(examples):
        raise ContractError(
            f"{len(examples)} examples were given, {len(rewards)} rewards came back"
        )
    for reward, example in zip(rewards, examples, strict=True):
        if not math.isfinite(reward):
            raise ContractError(f"image {example.id}: the reward is {reward}")
    return [float(reward) for reward in rewards]
