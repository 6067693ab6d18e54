"""The trials of a search: their order, their file, their summary."""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from ovbench.errors import UsageError
from ovbench.harness.contract.tuning import Phase
from ovbench.harness.files.lines import LineWriter, content_of, whole_lines, with_checksum


@dataclass(frozen=True, slots=True)
class Trial:
    """One combination of values and what it earned.

    Attributes:
        number: from 0, within the phase.
        values: all that was searched so far: this phase's, and the best of those before.
        reward: the sum over the images.
        reward_per_class: the mean over the pairs of an image and a class in it.
        rewards: per image.
    """

    phase: str
    number: int
    values: Mapping[str, Any]
    reward: float
    reward_per_class: float
    rewards: Sequence[float]
    seconds: float


class TrialLog(LineWriter):
    """Appends trials to a file and knows those it held before.

    Attributes:
        finished: by phase and number.

    Raises:
        OvbenchError: another process is writing the file.
        UsageError: a line is no trial, or not as it was written.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        trials = [_decode(path, *line) for line in whole_lines(path)]
        self.finished = {(trial.phase, trial.number): trial for trial in trials}

    def append(self, trial: Trial) -> None:
        """Write a trial behind the others; it outlives a power cut."""
        self.write(with_checksum(asdict(trial)))
        self.sync()


def trial_order(phase: Phase, trials: int | None, seed: int) -> list[dict[str, Any]]:
    """Combinations of a phase's values in random order, none of them twice.

    Args:
        trials: at most so many; None takes all.
    """
    grid = [
        dict(zip(phase.choices, values, strict=True)) for values in product(*phase.choices.values())
    ]
    random.Random(f"{phase.name} {seed}").shuffle(grid)
    return grid[:trials]


def best_of(trials: Sequence[Trial]) -> Trial:
    """The trial with the highest reward, the earliest of them if several tie."""
    return max(trials, key=lambda trial: trial.reward)


def phase_summary(phase: Phase, trials: Sequence[Trial]) -> dict[str, Any]:
    """What a phase found; ``ties`` counts the other trials that earned as much as the best."""
    best = best_of(trials)
    rewards = [trial.reward for trial in trials]
    return {
        "name": phase.name,
        "choices": {name: list(values) for name, values in phase.choices.items()},
        "trials": len(trials),
        "values": {name: best.values[name] for name in phase.choices},
        "reward": best.reward,
        "reward_per_class": best.reward_per_class,
        "median_reward": statistics.median(rewards),
        "ties": rewards.count(best.reward) - 1,
        "seconds": round(sum(trial.seconds for trial in trials), 3),
    }


def _decode(path: Path, number: int, line: bytes) -> Trial:
    try:
        return Trial(**content_of(line))
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path}:{number}: not a trial ({error}); delete that line") from None
