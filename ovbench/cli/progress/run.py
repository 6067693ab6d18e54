"""Progress on stderr: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from rich.progress import Progress, TaskID

from ovbench.cli.progress.bar import progress_bar
from ovbench.cli.progress.pace import LOG_EVERY_S, Pace
from ovbench.cli.progress.working import notes_shown, speaks, work_shown
from ovbench.cli.shared.console import bars_fit, tell
from ovbench.harness.contract.datasets import Dataset
from ovbench.harness.metrics.scores import Confusion
from ovbench.harness.run.counting import RunningMiou
from ovbench.harness.run.runner import Observer


@contextmanager
def observer(title: str, dataset: Dataset, *, quiet: bool = False) -> Iterator[Observer | None]:
    """Show a run's progress with its running mIoU; nothing on the ranks behind the first.

    Args:
        quiet: show no progress, only what a run says of itself.
    """
    if not speaks():
        yield None
        return
    if quiet:
        with notes_shown():
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
        self.steps.advance(lambda: f"mIoU {self.miou.value():.1f}")


Note: TypeAlias = str | Callable[[], str]
"""How things stand; what takes time to say is said only when it is shown."""

_DRAWN_EVERY_S = 0.1  # as often as a bar is drawn


def _words(note: Note) -> str:
    return note if isinstance(note, str) else note()


class Steps(Protocol):
    """Shows how far work of many like steps has come."""

    def started(self, remaining: int, total: int) -> None:
        """``remaining`` of ``total`` steps are to be done."""

    def advance(self, note: Note) -> None:
        """One more is done; ``note`` says how things stand."""


@contextmanager
def steps(title: str, unit: str, log_every_s: float = LOG_EVERY_S) -> Iterator[Steps]:
    """Show steps as they are done, and what is prepared for them.

    Args:
        unit: what a step is, in the plural.
        log_every_s: at least so many seconds lie between two lines of a log.
    """
    if bars_fit():
        with progress_bar() as progress, work_shown(progress):
            yield _Bar(progress, progress.add_task(title, total=None, note=""), unit)
    else:
        yield _Log(title, unit, log_every_s)


@dataclass
class _Bar:
    progress: Progress
    task: TaskID
    unit: str
    pace: Pace = field(default_factory=lambda: Pace(0, 0))

    def started(self, remaining: int, total: int) -> None:
        self.pace = Pace(remaining, _DRAWN_EVERY_S)
        self.progress.update(self.task, total=remaining)
        if remaining < total:
            done = f"{total - remaining} of {total} {self.unit} were done before"
            self.progress.console.print(done)

    def advance(self, note: Note) -> None:
        if self.pace.advance() or self.pace.done == self.pace.total:
            self.progress.update(self.task, completed=self.pace.done, note=_words(note))


@dataclass
class _Log:
    title: str
    unit: str
    every_s: float
    pace: Pace = field(default_factory=lambda: Pace(0, 0))

    def started(self, remaining: int, total: int) -> None:
        self.pace = Pace(remaining, self.every_s)
        tell(f"{self.title}: {remaining} of {total} {self.unit} to do")

    def advance(self, note: Note) -> None:
        if self.pace.advance():
            done = f"{self.pace.done}/{self.pace.total} {self.unit}"
            tell(f"{self.title}: {done}, {_words(note)}, {self.pace.left_s:.0f} s left")
