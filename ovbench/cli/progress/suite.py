"""A suite's progress on stderr: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich.progress import Progress, TaskID

from ovbench.cli.progress.bar import progress_bar
from ovbench.cli.progress.pace import LOG_EVERY_S
from ovbench.cli.shared.console import bars_fit, tell
from ovbench.errors import UsageError
from ovbench.harness.run.standing import Standing, standing
from ovbench.harness.suite.estimates import Estimate, duration, total
from ovbench.harness.suite.executors import Ended, Job
from ovbench.harness.suite.measuring import Observer

_LOOK_EVERY_S, _SHARE = 2.0, 0.01


class _Screen(Protocol):
    def line(self, text: str, wrong: bool) -> None:
        """Something to keep; ``wrong`` where it must be known."""

    def now(self, done: int, text: str) -> None:
        """How it stands."""


@contextmanager
def observer(
    title: str,
    runs: int,
    done: int,
    expected: Mapping[str, Estimate],
    at_once: int,
    *,
    quiet: bool = False,
) -> Iterator[Observer]:
    """Show how many of a suite's runs are done, what is running, and how long the rest may take.

    Args:
        expected: of the runs that are to be measured, by name.
        at_once: how many run at a time.
        quiet: show what fails alone.
    """
    if quiet:
        yield _Suite(_Quiet(), done, expected, at_once)
    elif bars_fit():
        with progress_bar() as progress:
            task = progress.add_task(title, total=runs, completed=done, note="")
            yield _Suite(_Bar(progress, task), done, expected, at_once)
    else:
        tell(f"{title}: {done} of {runs} runs were done before")
        yield _Suite(_Log(title, runs), done, expected, at_once)


@dataclass
class _Suite:
    screen: _Screen
    done: int
    expected: Mapping[str, Estimate]
    at_once: int
    left: set[str] = field(default_factory=set)
    failed: int = 0
    next_look: float = 0.0

    def __post_init__(self) -> None:
        self.left = set(self.expected)

    def running(self, jobs: Sequence[Job]) -> None:
        """See :class:`~ovbench.harness.suite.measuring.Observer`."""
        begin = time.monotonic()
        if begin >= self.next_look:
            found = {job.name: _look(job) for job in jobs}
            words = [*map(_how_far, found.items()), *self._rest(found)]
            self.screen.now(self.done, ", ".join(words) or "none is running")
            # The records of a large run take a while to count: looking takes its share at most.
            end = time.monotonic()
            self.next_look = end + max(_LOOK_EVERY_S, (end - begin) / _SHARE)

    def ended(self, ended: Ended) -> None:
        """See :class:`~ovbench.harness.suite.measuring.Observer`."""
        self.left.discard(ended.job.name)
        if ended.failure is None:
            self.done += 1
            self.screen.line(f"{ended.job.name}: done in {duration(ended.seconds)}", False)
        else:
            self.failed += 1
            self.screen.line(f"{ended.job.name}: failed: {ended.failure}", True)
        self.screen.now(self.done, "")
        self.next_look = 0.0

    def _rest(self, found: Mapping[str, Standing | None]) -> list[str]:
        """How many failed, and how long the rest may take."""
        seconds = {name: self.expected[name].seconds for name in self.left}
        for name, run in found.items():
            if run is not None and run.left_s is not None:
                seconds[name] = run.left_s
        known, unknown = total(seconds.values())
        said = [f"{self.failed} failed"] if self.failed else []
        if unknown < len(seconds):
            more = f" and {unknown} of which nothing tells" if unknown else ""
            said.append(f"about {duration(known / self.at_once)} left{more}")
        return said


def _look(job: Job) -> Standing | None:
    try:
        return standing(job.directory)
    except UsageError:  # nothing is written yet
        return None


def _how_far(found: tuple[str, Standing | None]) -> str:
    name, run = found
    return f"{name} begins" if run is None else f"{name} {run.images}/{run.total}"


@dataclass
class _Bar:
    progress: Progress
    task: TaskID

    def line(self, text: str, wrong: bool) -> None:
        self.progress.console.print(text, soft_wrap=True)

    def now(self, done: int, text: str) -> None:
        self.progress.update(self.task, completed=done, note=text)


@dataclass
class _Log:
    title: str
    total: int
    last: float = field(default_factory=time.monotonic)

    def line(self, text: str, wrong: bool) -> None:
        tell(text)

    def now(self, done: int, text: str) -> None:
        if time.monotonic() - self.last >= LOG_EVERY_S:
            self.last = time.monotonic()
            tell(f"{self.title}: {done}/{self.total} runs, {text}")


class _Quiet:
    def line(self, text: str, wrong: bool) -> None:
        if wrong:
            tell(text)

    def now(self, done: int, text: str) -> None:
        pass
