"""Progress of a run on stderr: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.progress import Progress, TaskID

from ovbench.cli.progress_bar import Pace, progress_bar
from ovbench.cli.working import work_shown
from ovbench.harness.counting import RunningMiou
from ovbench.harness.metrics import Confusion
from ovbench.harness.protocol import Dataset
from ovbench.harness.runner import Observer


@contextmanager
def observer(title: str, dataset: Dataset) -> Iterator[Observer | None]:
    """Show a run's progress with its running mIoU; nothing on the ranks behind the first.

    What the method prepares is shown too.
    """
    miou = RunningMiou(len(dataset.vocabulary), dataset.info.scored)
    if int(os.environ.get("RANK", "0")) > 0:
        yield None
    elif sys.stderr.isatty():
        with progress_bar() as progress, work_shown(progress):
            yield _Bar(progress, progress.add_task(title, total=None, note=""), miou)
    else:
        with work_shown():
            yield _Log(title, miou)


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
    pace: Pace = field(default_factory=lambda: Pace(0))

    def started(self, remaining: int, total: int) -> None:
        self.pace = Pace(remaining)
        print(f"{self.title}: {remaining} of {total} images to do", file=sys.stderr)

    def recorded(self, image: str, confusion: Confusion | None) -> None:
        if confusion is not None:
            self.miou.add(confusion)
        if self.pace.advance():
            print(
                f"{self.title}: {self.pace.done}/{self.pace.total} images, "
                f"mIoU {self.miou.value():.1f}, {self.pace.left_s:.0f} s left",
                file=sys.stderr,
            )
