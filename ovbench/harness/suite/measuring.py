"""A suite from where it stands to where it can go."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ovbench.harness.suite.executors import Ended, Executor, Job
from ovbench.harness.suite.ledger import Ledger
from ovbench.harness.suite.prospects import Prospect


class Observer(Protocol):
    """Watches a suite, to show its progress."""

    def running(self, jobs: Sequence[Job]) -> None:
        """These are being measured, as is told now and then."""

    def ended(self, ended: Ended) -> None:
        """One more has ended."""


@dataclass(frozen=True, slots=True)
class Errand:
    """How a suite's runs are started.

    Attributes:
        folder: of the suite.
        root: of the benchmarks.
        device: as ``--device`` has it.
        fresh: measure again, too, what its directory holds of other code, labels or values.
        retry_failed: start again what failed.
    """

    folder: Path
    root: Path | None = None
    device: str = "auto"
    fresh: bool = False
    retry_failed: bool = False

    def jobs(self, prospects: Sequence[Prospect], ledger: Ledger) -> list[Job]:
        """What is to be measured, in the order of the suite."""
        return [
            self._job(one)
            for one in prospects
            if (one.due or (self.fresh and one.state == "other" and one.images is not None))
            and (self.retry_failed or one.run.name not in ledger.failures)
        ]

    def _job(self, prospect: Prospect) -> Job:
        name = prospect.run.name
        again = ["--fresh"] if prospect.state == "other" else []
        words = prospect.run.arguments(self.folder, self.root, self.device)
        log = self.folder / "logs" / f"{name}.log"
        # Such as its support set, or its pictures' regions.
        shares = f"{prospect.run.method} {prospect.run.benchmark}"
        return Job(name, [*words, *again], self.folder / name, log, shares)


def measure(
    jobs: Sequence[Job], executor: Executor, ledger: Ledger, observer: Observer
) -> Sequence[str]:
    """Execute jobs; one that fails is remembered and stops no other.

    Returns:
        The names of those that failed.

    Raises:
        OvbenchError: the ledger cannot be written.
        KeyboardInterrupt: what was running is ended, and its records are kept.
    """
    failed = []
    ledger.write()
    with closing(executor.execute(jobs, observer.running)) as ends:
        for ended in ends:
            name = ended.job.name
            ledger.ended(name, ended.seconds, None if ended.cut else ended.failure)
            if ended.failure is not None:
                failed.append(name)
            ledger.write()
            observer.ended(ended)
    return failed
