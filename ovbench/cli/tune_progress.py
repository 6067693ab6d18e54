"""Progress of a search on stderr: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.progress import Progress, TaskID

from ovbench.cli.progress_bar import Pace, progress_bar
from ovbench.cli.working import work_shown
from ovbench.harness.search import Observer
from ovbench.harness.trials import Trial


@contextmanager
def observer(title: str) -> Iterator[Observer]:
    """Show a search's progress with the best trial so far, and what the tuner prepares."""
    if sys.stderr.isatty():
        with progress_bar() as progress, work_shown(progress):
            yield _Bar(progress, progress.add_task(title, total=None, note=""))
    else:
        with work_shown():
            yield _Log(title)


@dataclass
class _Bar:
    progress: Progress
    task: TaskID

    def started(self, remaining: int, total: int) -> None:
        self.progress.update(self.task, total=remaining)
        if remaining < total:
            self.progress.console.print(f"{total - remaining} of {total} trials were done before")

    def tried(self, trial: Trial, best: Trial) -> None:
        self.progress.update(self.task, advance=1, note=_words(best))


@dataclass
class _Log:
    title: str
    pace: Pace = field(default_factory=lambda: Pace(0))

    def started(self, remaining: int, total: int) -> None:
        self.pace = Pace(remaining)
        print(f"{self.title}: {remaining} of {total} trials to do", file=sys.stderr)

    def tried(self, trial: Trial, best: Trial) -> None:
        if self.pace.advance():
            print(
                f"{self.title}: {self.pace.done}/{self.pace.total} trials, "
                f"{_words(best)}, {self.pace.left_s:.0f} s left",
                file=sys.stderr,
            )


def _words(best: Trial) -> str:
    values = ", ".join(f"{name}={value}" for name, value in best.values.items())
    return f"best {best.reward:g} with {values}"
