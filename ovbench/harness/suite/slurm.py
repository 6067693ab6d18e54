"""Jobs of a Slurm cluster, through submitit: what is left of a suite is an array of them.

Nothing hangs on the process that submits. Slurm keeps the queue, jobs write how they ended (see
:mod:`ovbench.harness.suite.node`), and whoever asks again, from whatever machine, finds in the
suite's ledger which jobs there are, and submits no second one for a run that has its own.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovbench.errors import OvbenchError, UsageError
from ovbench.harness.suite.executors import Ended, Job, staggered
from ovbench.harness.suite.ledger import JOBS, Ledger, Outcome, outcome_path

_LOOK_EVERY_S = 1.0
_ASK_EVERY_S = 5.0
"""What jobs write is looked for often; Slurm, whose clients share it, is asked now and then."""
_MISSED = 3
"""A job that Slurm has no more is given so many looks for its last word: shared file systems show
what another machine wrote a little later (our choice)."""
_LARGEST_ARRAY = 1000
"""Elements; Slurm's own default is up to 1001 (``MaxArraySize``)."""
_SIGNAL_S = 60
"""How long before its time is up a job is told (our choice)."""
_OVER = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "REVOKED", "TIMEOUT",
}  # fmt: skip
_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")


@dataclass(frozen=True, slots=True)
class Share:
    """What every job asks Slurm for.

    Attributes:
        minutes: that it may take before it goes back into the queue.
        nodes, gpus: that one run gets: nodes, and GPUs on each; 0 for a CPU.
        at_once: jobs of an array that may run at the same time; None for all.
        options: of ``sbatch``, by their names without dashes; an empty text for one that has none.
    """

    minutes: int = 240
    nodes: int = 1
    gpus: int = 1
    at_once: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slurm:
    """Executes jobs on a Slurm cluster; an executor as of :mod:`ovbench.harness.suite.executors`.

    Args:
        ledger: of the suite; it is given the numbers of jobs, and written.
        tell: is given what is submitted, in lines.
        wait: until all jobs have ended; else they are submitted, and nothing is yielded.
    """

    ledger: Ledger
    share: Share
    tell: Callable[[str], None]
    wait: bool = True

    def execute(
        self, jobs: Sequence[Job], watch: Callable[[Sequence[Job]], None]
    ) -> Generator[Ended]:
        """See :class:`~ovbench.harness.suite.executors.Executor`.

        Closing the iterator ends no job.

        Raises:
            OvbenchError: Slurm takes no job; says why.
        """
        queue = _queue()
        if queue is None:  # who submits without knowing what is there submits twice
            raise OvbenchError(
                "Slurm's squeue does not answer; give the command again when it does"
            )
        submitted = [job for job in jobs if _goes_on(queue.get(self._number(job)))]
        names = {job.name for job in submitted}
        rest = staggered([job for job in jobs if job.name not in names])
        for start in range(0, len(rest), _LARGEST_ARRAY):
            self._submit(rest[start : start + _LARGEST_ARRAY])
        if submitted:
            self.tell(f"{len(submitted)} of {len(jobs)} runs have their jobs in the queue already")
        if self.wait:
            yield from self._wait([*submitted, *rest], watch)

    def _number(self, job: Job) -> str:
        return self.ledger.jobs.get(job.name, "")

    def _submit(self, jobs: Sequence[Job]) -> None:
        from submitit import SlurmExecutor

        from ovbench.harness.suite.node import Node

        share = self.share
        # One GPU needs no torchrun, nor does a CPU alone.
        processes = 0 if share.nodes == 1 and share.gpus <= 1 else max(1, share.gpus)
        executor = SlurmExecutor(self.ledger.path.parent / JOBS, max_num_timeout=1_000_000)
        executor.update_parameters(**_parameters(self.ledger.suite, share, len(jobs)))
        calls = [Node(job, share.nodes, processes) for job in jobs]
        try:
            with redirect_stderr(io.StringIO()):  # where submitit repeats what it raises
                found = executor.submit_array(calls)
        except (OSError, subprocess.SubprocessError, RuntimeError) as error:
            raise OvbenchError(f"Slurm takes no job: {_said(error)}") from None
        for job, one in zip(jobs, found, strict=True):
            self.ledger.jobs[job.name] = one.job_id
        self.ledger.write()
        what = "1 run is job" if len(jobs) == 1 else f"{len(jobs)} runs are job"
        self.tell(f"{what} {found[0].job_id.partition('_')[0]} of Slurm")

    def _wait(
        self, jobs: Sequence[Job], watch: Callable[[Sequence[Job]], None]
    ) -> Generator[Ended]:
        left = {job.name: job for job in jobs}
        numbers = {job.name: self._number(job) for job in jobs}
        missed, queue, asked = dict[str, int](), dict[str, str](), float("-inf")
        began = time.monotonic()
        while left:
            fresh = time.monotonic() >= asked + _ASK_EVERY_S
            if fresh:
                asked, answer = time.monotonic(), _queue()
                fresh, queue = answer is not None, answer or queue
            watch([job for job in left.values() if queue.get(numbers[job.name]) == "RUNNING"])
            for job in list(left.values()):
                number, state = numbers[job.name], queue.get(numbers[job.name])
                outcome = Outcome.read(outcome_path(self.ledger.path.parent, job.name))
                if outcome is not None and outcome.job == number:
                    del left[job.name]
                    yield Ended(job, outcome.seconds, outcome.failure)
                elif fresh and not _goes_on(state):
                    missed[number] = missed.get(number, 0) + 1
                    if missed[number] == _MISSED:
                        del left[job.name]
                        gone = _gone(number, state, self.ledger.path.parent)
                        yield Ended(job, time.monotonic() - began, gone, cut=True)
                elif fresh:
                    missed.pop(number, None)
            if left:
                time.sleep(_LOOK_EVERY_S)


def refuse_without_slurm() -> None:
    """Refuse where jobs cannot be submitted.

    Raises:
        UsageError: submitit or ``sbatch`` is missing; names what mends it.
    """
    from importlib.util import find_spec

    if find_spec("submitit") is None:
        raise UsageError("--executor slurm needs submitit: `pip install 'ovbench[slurm]'`")
    missing = [name for name in ("sbatch", "squeue", "srun") if shutil.which(name) is None]
    if missing:
        raise UsageError(
            f"--executor slurm: no {missing[0]} here; give the command on a machine that submits "
            "to Slurm, or leave --executor out"
        )


def minutes_of(text: str) -> int:
    """A time as ``sbatch --time`` takes it, such as ``"90"``, ``"4:00:00"`` or ``"1-12"``.

    Raises:
        UsageError: it is none, or less than two minutes, in which nothing is measured.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--time-limit {text!r}: minutes, HOURS:MINUTES:SECONDS or DAYS-HOURS")
    days, *parts = match.groups()
    numbers = [int(part) for part in parts if part is not None]
    if days is not None:  # days-hours[:minutes[:seconds]]
        hours, minutes, seconds = [*numbers, 0, 0][:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:  # minutes[:seconds]
        hours, minutes, seconds = 0, *[*numbers, 0][:2]
    whole = (int(days or 0) * 24 + hours) * 60 + minutes + (seconds >= 30)
    if whole < 2:
        raise UsageError(f"--time-limit {text!r}: a job takes two minutes at least")
    return whole


def _parameters(suite: str, share: Share, jobs: int) -> dict[str, Any]:
    """As submitit takes them."""
    more: dict[str, Any] = {name: value or True for name, value in share.options.items()}
    return {
        "job_name": suite,
        "time": share.minutes,
        "nodes": share.nodes,
        "ntasks_per_node": 1,
        "gpus_per_node": share.gpus or None,
        "array_parallelism": share.at_once or jobs,
        "signal_delay_s": _SIGNAL_S,
        "stderr_to_stdout": True,
        "additional_parameters": {"requeue": True, **more},
    }


def _queue() -> dict[str, str] | None:
    """The states of the user's jobs by their numbers; None where Slurm does not answer."""
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i %T"]
    try:
        done = subprocess.run(
            [*command, f"--user={os.getuid()}"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    pairs = (line.split() for line in done.stdout.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _goes_on(state: str | None) -> bool:
    """Whether a job waits, runs or comes to run again; it does not where Slurm has it no more."""
    return state is not None and state not in _OVER


def _gone(number: str, state: str | None, folder: Path) -> str:
    ended = f"ended as {state}" if state else "is no more"
    log = folder / JOBS / f"{number}_0_log.out"
    return f"job {number} {ended} and left no word but {log}; the same command starts it again"


def _said(error: Exception) -> str:
    text = getattr(error, "stderr", None) or getattr(error, "output", None) or str(error)
    lines = (text.decode(errors="replace") if isinstance(text, bytes) else str(text)).splitlines()
    told = [line.strip() for line in lines if line.strip()]
    told = [line for line in told if "error:" in line] or told or ["it says nothing"]
    return told[-1].removeprefix("sbatch: ").removeprefix("error: ")
