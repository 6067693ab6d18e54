"""Progress of a search on stderr: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.progress import Progress, TaskID

from ovbench.cli.progress import LOG_EVERY_S, progress_bar
from ovbench.harness.search import Observer
from ovbench.harness.trials import Trial


@contextmanager
def observer(title: str) -> Iterator[Observer]:
    """Show a search's progress with the best trial so far."""
    if sys.stderr.isatty():
        with progress_bar() as progress:
            yield _Bar(progress, progress.add_task(title, total=None, note=""))
    else:
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
    remaining: int = 0
    done: int = 0
    begin: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)

    def started(self, remaining: int, total: int) -> None:
        self.remaining, self.begin = remaining, time.monotonic()
        print(f"{self.title}: {remaining} of {total} trials to do", file=sys.stderr)

    def tried(self, trial: Trial, best: Trial) -> None:
        self.done += 1
        now = time.monotonic()
        if now - self.last >= LOG_EVERY_S:
            self.last = now
            left = (now - self.begin) / self.done * (self.remaining - self.done)
            print(
                f"{self.title}: {self.done}/{self.remaining} trials, "
                f"{_words(best)}, {left:.0f} s left",
                file=sys.stderr,
            )


def _words(best: Trial) -> str:
    values = ", ".join(f"{name}={value}" for name, value in best.values.items())
    return f"best {best.reward:g} with {values}"
