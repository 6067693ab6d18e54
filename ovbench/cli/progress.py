"""Progress on stderr: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

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
    miou = RunningMiou(len(dataset.vocabulary), dataset.info.scored)
    if int(os.environ.get("RANK", "0")) > 0:
        yield None
    elif sys.stderr.isatty():
        with progress_bar() as progress:
            yield _Bar(progress, progress.add_task(title, total=None, note=""), miou)
    else:
        yield _Log(title, miou)


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
    miou: RunningMiou

    def started(self, remaining: int, total: int) -> None:
        self.progress.update(self.task, total=remaining)
        if remaining < total:
            self.progress.console.print(f"{total - remaining} of {total} images were done before")

    def recorded(self, image: str, confusion: Confusion | None) -> None:
        if confusion is not None:
            self.miou.add(confusion)
        self.progress.update(self.task, advance=1, note=f"mIoU {self.miou.value():.1f}")


@dataclass
class _Log:
    title: str
    miou: RunningMiou
    total: int = 0
    done: int = 0
    begin: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)

    def started(self, remaining: int, total: int) -> None:
        self.total, self.begin = remaining, time.monotonic()
        print(f"{self.title}: {remaining} of {total} images to do", file=sys.stderr)

    def recorded(self, image: str, confusion: Confusion | None) -> None:
        self.done += 1
        if confusion is not None:
            self.miou.add(confusion)
        now = time.monotonic()
        if now - self.last >= LOG_EVERY_S:
            self.last = now
            left = (now - self.begin) / self.done * (self.total - self.done)
            print(
                f"{self.title}: {self.done}/{self.total} images, "
                f"mIoU {self.miou.value():.1f}, {left:.0f} s left",
                file=sys.stderr,
            )
