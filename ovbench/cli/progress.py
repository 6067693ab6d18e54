"""Progress on stderr: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ovbench.harness.counting import RunningMiou
from ovbench.harness.metrics import Confusion
from ovbench.harness.protocol import Dataset
from ovbench.harness.runner import Observer

LOG_EVERY_S = 30.0


@contextmanager
def observer(title: str, dataset: Dataset) -> Iterator[Observer | None]:
    """Show a run's progress with its running mIoU; nothing on the ranks behind the first."""
    if int(os.environ.get("RANK", "0")) > 0:
        yield None
        return
    miou = RunningMiou(len(dataset.vocabulary), dataset.info.scored)
    with steps(title, "images") as shown:
        yield _Run(shown, miou)


@dataclass
class _Run:
    steps: Steps
    miou: RunningMiou

    def started(self, remaining: int, total: int) -> None:
        self.steps.started(remaining, total)

    def recorded(self, image: str, confusion: Confusion | None) -> None:
        if confusion is not None:
            self.miou.add(confusion)
        self.steps.advance(f"mIoU {self.miou.value():.1f}")


class Steps(Protocol):
    """Shows how far work of many like steps has come."""

    def started(self, remaining: int, total: int) -> None:
        """``remaining`` of ``total`` steps are to be done."""

    def advance(self, note: str) -> None:
        """One more is done; ``note`` says how things stand."""


@contextmanager
def steps(title: str, unit: str, log_every_s: float = LOG_EVERY_S) -> Iterator[Steps]:
    """Show steps as they are done.

    Args:
        unit: what a step is, in the plural.
        log_every_s: at least so many seconds lie between two lines of a log.
    """
    if sys.stderr.isatty():
        with progress_bar() as progress:
            yield _Bar(progress, progress.add_task(title, total=None, note=""), unit)
    else:
        yield _Log(title, unit, log_every_s)


def progress_bar() -> Progress:
    """A bar with count, elapsed and remaining time on stderr."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )


@dataclass
class _Bar:
    progress: Progress
    task: TaskID
    unit: str

    def started(self, remaining: int, total: int) -> None:
        self.progress.update(self.task, total=remaining)
        if remaining < total:
            done = f"{total - remaining} of {total} {self.unit} were done before"
            self.progress.console.print(done)

    def advance(self, note: str) -> None:
        self.progress.update(self.task, advance=1, note=note)


@dataclass
class _Log:
    title: str
    unit: str
    every_s: float
    remaining: int = 0
    done: int = 0
    begin: float = 0.0
    last: float = 0.0

    def started(self, remaining: int, total: int) -> None:
        self.remaining = remaining
        self.begin = self.last = time.monotonic()
        print(f"{self.title}: {remaining} of {total} {self.unit} to do", file=sys.stderr)

    def advance(self, note: str) -> None:
        self.done += 1
        now = time.monotonic()
        if now - self.last >= self.every_s:
            self.last = now
            left = (now - self.begin) / self.done * (self.remaining - self.done)
            print(
                f"{self.title}: {self.done}/{self.remaining} {self.unit}, "
                f"{note}, {left:.0f} s left",
                file=sys.stderr,
            )
