"""Who measures what is left: every run is one ``ovbench run``, whoever starts it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from ovbench.harness.files.atomic import ready_folder

Scheduler: TypeAlias = Literal["torchrun", "sbatch"]


@dataclass(frozen=True, slots=True)
class Job:
    """One command.

    Attributes:
        arguments: the words behind ``ovbench``.
        directory: of its run.
        log: where what it prints goes.
        shares: what its preparation is of; of two that share it, the second finds it made if it
            begins after the first.
    """

    name: str
    arguments: Sequence[str]
    directory: Path
    log: Path
    shares: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended.

    Attributes:
        seconds: from its start, the start of Python included.
        failure: why it failed, in a line; None where it did not.
        cut: it was ended from outside and failed in nothing: the same command starts it again.
    """

    job: Job
    seconds: float
    failure: str | None
    cut: bool = False


class Executor(Protocol):
    """Executes jobs, taken in their order, as many at a time as it has room for.

    Another one, such as of a cluster, need not be on this machine: what is done is asked of the run
    directories, and a job that is executed twice finds what it measured before.
    """

    def execute(
        self, jobs: Sequence[Job], watch: Callable[[Sequence[Job]], None]
    ) -> Generator[Ended]:
        """Yield every job as it ends.

        Closing the iterator, as Ctrl-C does, ends what is running; its records are kept.

        Args:
            watch: is told now and then what is running.
        """
        ...


@dataclass(frozen=True, slots=True)
class Lines:
    """Starts nothing: hands out a line for each job, for another scheduler.

    Args:
        scheduler: "torchrun" shares a run among the GPUs of a machine; "sbatch" gives each one GPU
            of a Slurm cluster, where it is put back into the queue if it is preempted.
        show: is given every line.
    """

    scheduler: Scheduler
    show: Callable[[str], None]

    def execute(
        self, jobs: Sequence[Job], watch: Callable[[Sequence[Job]], None]
    ) -> Generator[Ended]:
        """See :class:`Executor`; nothing ends."""
        for job in jobs:
            if self.scheduler == "sbatch":
                ready_folder(job.log)  # Slurm opens it, and makes no folders
            self.show(self.line(job))
        yield from ()

    def line(self, job: Job) -> str:
        """A job's command."""
        if self.scheduler == "torchrun":
            return shlex.join(
                ["torchrun", "--nproc-per-node", "gpu", "-m", "ovbench", *job.arguments]
            )
        inner = shlex.join(["ovbench", *job.arguments])
        log = str(job.log).replace("%", "%%")  # Slurm reads %j and the like
        options = ["--job-name", job.name, "--gpus", "1", "--requeue", "--output", log]
        return shlex.join(["sbatch", *options, "--open-mode", "append", "--wrap", inner])


def staggered(jobs: Sequence[Job]) -> list[Job]:
    """The first job of each preparation, then the second of each, and so on.

    For executors that start jobs in their order, many at a time: of two that share a preparation
    and begin together, one would wait for the other.
    """
    turns: dict[str, int] = {}
    keyed = []
    for job in jobs:
        turns[job.shares] = turn = turns.get(job.shares, -1) + 1
        keyed.append((turn, job))
    return [job for _, job in sorted(keyed, key=lambda pair: pair[0])]
