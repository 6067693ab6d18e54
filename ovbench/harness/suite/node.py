"""A job of a suite on a node of a Slurm cluster, whatever becomes of it there.

It ends in one of three ways. Its command ended: that is written down, for whoever looks later. Its
time is up: it goes back into the queue, as its records let it go on, unless it is getting nowhere.
It is told to end, as by ``scancel`` or for a job that goes before it: nothing is written down, and
Slurm or the next ``ovbench suite`` starts it again.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from submitit import JobEnvironment
from submitit.helpers import DelayedSubmission

from ovbench.errors import UsageError
from ovbench.harness.files.atomic import ready_folder
from ovbench.harness.results.environment import command_output
from ovbench.harness.run.standing import standing
from ovbench.harness.suite.executors import Job
from ovbench.harness.suite.ledger import Outcome, outcome_path
from ovbench.harness.suite.local import failure_in, in_use

_LOOK_EVERY_S = 1.0
_LOOK_EVERY_CHILD_S = 0.1
_GRACE_S = 10.0
"""How long a command whose time is up has to end."""
_FRUITLESS = 3
"""So many times in a row may a job's time be up without one more image (our choice): a preparation
that is kept piece by piece goes on, too."""
_TOLD_TO_END = 128 + signal.SIGTERM


class Node:
    """What submitit calls on each node of a job; it is pickled, with no more than texts in it.

    Args:
        nodes: that share the run.
        processes: on each of them; 0 is the command itself, without ``torchrun``.
    """

    def __init__(self, job: Job, nodes: int, processes: int, fruitless: int = 0) -> None:
        self.job, self.nodes, self.processes = job, nodes, processes
        self.fruitless = fruitless
        self._child: subprocess.Popen[bytes] | None = None
        self._told = False
        self._images = 0

    def __call__(self) -> None:
        """Measure."""
        place = JobEnvironment()
        signal.signal(signal.SIGTERM, self._end)
        first = place.global_rank == 0
        outcome = outcome_path(self.job.directory.parent, self.job.name)
        if first:
            outcome.unlink(missing_ok=True)
            while in_use(self.job.directory):  # such as by one that outlived its suite
                time.sleep(_LOOK_EVERY_S)
        self._images = _measured(self.job.directory)
        began = time.monotonic()
        log = self.job.log if first else self.job.log.with_suffix(f".{place.node}.log")
        code = self._run(log, place)
        if self._told or code == -signal.SIGTERM:
            sys.exit(_TOLD_TO_END)
        if first:
            failure = None if code == 0 else failure_in(self.job.log, code)
            Outcome(place.job_id, time.monotonic() - began, failure).write(outcome)

    def checkpoint(self) -> DelayedSubmission | None:
        """What goes back into the queue when its time is up."""
        if self._child is not None:
            self._child.terminate()
            try:
                self._child.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
        fruitless = 0 if _measured(self.job.directory) > self._images else self.fruitless + 1
        if fruitless < _FRUITLESS:
            return DelayedSubmission(Node(self.job, self.nodes, self.processes, fruitless))
        failure = f"its time was up {fruitless} times without one more image; raise --time-limit"
        path = outcome_path(self.job.directory.parent, self.job.name)
        Outcome(JobEnvironment().job_id, 0.0, failure).write(path)
        return None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_child": None}

    def _run(self, log: Path, place: JobEnvironment) -> int:
        ready_folder(log)
        again = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        command = [sys.executable, "-P", "-m", *self._launcher(place), "ovbench"]
        with log.open("ab" if again else "wb") as file:
            # submitit's signal is submitit's: it must not end what knows nothing of it.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
            try:
                self._child = subprocess.Popen(
                    [*command, *self.job.arguments],
                    env={**_threads(max(1, self.processes), os.environ), **os.environ},
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
            if self._told:
                self._child.terminate()
            # Not `wait`, which holds a lock that a signal's handler would wait for in vain.
            while (code := self._child.poll()) is None:
                time.sleep(_LOOK_EVERY_CHILD_S)
            return code

    def _launcher(self, place: JobEnvironment) -> list[str]:
        if not self.processes:
            return []
        words = ["torch.distributed.run", "--nproc-per-node", str(self.processes)]
        if self.nodes == 1:
            return [*words, "--standalone", "-m"]
        port = 20_000 + int(place.raw_job_id) % 20_000
        words += ["--nnodes", str(self.nodes), "--node-rank", str(place.node)]
        address = _address(place.hostnames[0])
        return [*words, "--master-addr", address, "--master-port", str(port), "-m"]

    def _end(self, _number: int, _frame: object) -> None:
        self._told = True
        if self._child is not None:
            self._child.terminate()


def _address(node: str) -> str:
    """Where Slurm reaches a node, whose name is not a machine's everywhere."""
    about = command_output("scontrol", "--oneliner", "show", "node", node) or ""
    found = re.search(r" NodeAddr=(\S+)", about)
    return node if found is None else found[1]


def _measured(directory: Path) -> int:
    try:
        return standing(directory).images
    except UsageError:  # nothing is written yet
        return 0


def _threads(processes: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Each process's share of the cores that Slurm gave: not every Slurm binds what it starts."""
    share = max(1, int(environment.get("SLURM_CPUS_ON_NODE", "1")) // processes)
    return {name: str(share) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
