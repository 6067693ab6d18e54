"""What a suite remembers beside its runs: which it is, which failed, and how long each took.

All else, what is done and how far the rest is, the run directories say themselves. Of a job of a
cluster it has the number. How that ended the job writes down beside it, on whatever machine: a
ledger that is read has it, and what is read last is what is written next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ovbench.errors import UsageError
from ovbench.harness.files.atomic import ready_folder
from ovbench.harness.files.json_files import read_json, write_json

SCHEMA_VERSION = 1
FILE = "suite.json"
JOBS = "slurm"
"""The folder, in a suite's, of what the jobs of a cluster are given and leave behind."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job of a cluster ended, as it says itself.

    Attributes:
        job: its number, such as ``"17_3"``: one that was started later says something else.
        seconds: from its last start.
        failure: why it failed, in a line; None where it did not.
    """

    job: str
    seconds: float
    failure: str | None

    @classmethod
    def read(cls, path: Path) -> Outcome | None:
        """What a job left behind; None where there is nothing, or nothing that can be read."""
        try:
            content = read_json(path)
            failure = content["failure"]
            return cls(
                str(content["job"]),
                float(content["seconds"]),
                None if failure is None else str(failure),
            )
        except (UsageError, KeyError, TypeError, ValueError):
            return None

    def write(self, path: Path) -> None:
        """Write it atomically.

        Raises:
            OvbenchError: it cannot be written.
        """
        ready_folder(path)
        write_json(path, asdict(self))


def outcome_path(folder: Path, run: str) -> Path:
    """Where the job of a run of a suite's folder writes how it ended."""
    return folder / JOBS / f"{run}.json"


@dataclass(slots=True)
class Ledger:
    """A suite's ``suite.json``.

    Attributes:
        suite: its name.
        runs: the directories of its runs, in order.
        failures: by run, why it failed, in a line.
        seconds: by run, from its start to its end, in whole; of the last time that it was started.
        jobs: by run, the number of its job on a cluster, until it is known how that ended.
        tried: by run, what a few of its images took, where they were measured for an estimate.
    """

    path: Path
    suite: str
    runs: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    tried: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Ledger | None:
        """What lies in a suite's folder; None where nothing does.

        Raises:
            UsageError: it was not written by ovbench.
        """
        path = folder / FILE
        if not path.exists():
            return None
        content = read_json(path)
        kinds: dict[str, Any] = {"suite": str, "runs": list, "failures": dict, "seconds": dict}
        if not all(isinstance(content.get(name), kind) for name, kind in kinds.items()):
            raise UsageError(f"{path}: not written by ovbench")
        jobs, tried = content.get("jobs"), content.get("tried")
        found = cls(
            path,
            content["suite"],
            [str(run) for run in content["runs"]],
            {run: str(why) for run, why in content["failures"].items()},
            {run: s for run, s in content["seconds"].items() if isinstance(s, int | float)},
            {run: str(job) for run, job in jobs.items()} if isinstance(jobs, dict) else {},
            dict(tried) if isinstance(tried, dict) else {},
        )
        for run, job in list(found.jobs.items()):
            outcome = Outcome.read(outcome_path(folder, run))
            if outcome is not None and outcome.job == job:
                found.ended(run, outcome.seconds, outcome.failure)
        return found

    @classmethod
    def open(cls, folder: Path, suite: str, runs: Sequence[str]) -> Ledger:
        """The ledger of a suite's folder, with the runs that are asked for now; it is not written.

        Raises:
            UsageError: the folder is another suite's, or the file was not written by ovbench.
        """
        found = cls.read(folder) or cls(folder / FILE, suite)
        if found.suite != suite:
            raise UsageError(
                f"{folder} is the folder of the suite {found.suite!r}; give another --output"
            )
        found.runs = list(runs)
        found.failures = {run: why for run, why in found.failures.items() if run in runs}
        return found

    def ended(self, run: str, seconds: float, failure: str | None) -> None:
        """A run ended."""
        self.seconds[run] = round(seconds, 3)
        self.failures.pop(run, None)
        self.jobs.pop(run, None)
        if failure is not None:
            self.failures[run] = failure

    def write(self) -> None:
        """Write it atomically.

        Raises:
            OvbenchError: it cannot be written.
        """
        ready_folder(self.path)
        content = {
            "schema_version": SCHEMA_VERSION,
            "suite": self.suite,
            "runs": self.runs,
            "failures": self.failures,
            "seconds": self.seconds,
            "jobs": self.jobs,
            "tried": self.tried,
        }
        write_json(self.path, content)
