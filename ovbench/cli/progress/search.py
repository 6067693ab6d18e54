"""Progress of a search on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ovbench.cli.progress.run import Steps, steps
from ovbench.harness.tune.search import Observer
from ovbench.harness.tune.trials import Trial


@contextmanager
def observer(title: str) -> Iterator[Observer]:
    """Show a search's progress with the best trial so far."""
    with steps(title, "trials") as shown:
        yield _Search(shown)


@dataclass
class _Search:
    steps: Steps

    def started(self, remaining: int, total: int) -> None:
        self.steps.started(remaining, total)

    def tried(self, trial: Trial, best: Trial) -> None:
        values = ", ".join(f"{name}={value}" for name, value in best.values.items())
        self.steps.advance(f"best {best.reward:g} with {values}")
