"""Jobs on this machine: a queue over its GPUs, or over shares of its cores.

Each job is a process of its own. What it holds at its peak is then its own, so is a crash, and a
GPU's memory is free again for the next one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import current_thread, main_thread
from types import FrameType
from typing import BinaryIO

from ovbench.harness.files.atomic import lock, ready_folder, unwritable
from ovbench.harness.files.regular import regular
from ovbench.harness.profile.isolated import death
from ovbench.harness.results.environment import command_output, usable_cores
from ovbench.harness.suite.executors import Ended, Job

_LOOK_EVERY_S = 0.1
_GRACE_S = 10.0
"""How long a job that is told to end has for it."""
_INTERRUPTED = 130
_CARD = "CUDA_VISIBLE_DEVICES"
_MARGIN, _CONTEXT_BYTES = 1.2, 600 * 2**20
"""Of GPU memory, where jobs share one: what another benchmark's pictures may need more, and what
CUDA takes for each process beside what PyTorch counts (our choice)."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def gpus(device: str) -> list[str]:
    """The GPUs that jobs may use, as ``CUDA_VISIBLE_DEVICES`` names them; none on a CPU.

    Args:
        device: as ``--device`` has it; one that is named is the only one, and named to the job.
    """
    if device not in ("auto", "cuda"):
        return []
    if (visible := os.environ.get(_CARD)) is not None:
        return [name.strip() for name in visible.split(",") if name.strip()]
    found = command_output("nvidia-smi", "--query-gpu=index", "--format=csv,noheader")
    return (found or "").split()


@cache
def free_bytes(card: str) -> float | None:
    """What is free of a GPU's memory when it is first asked for; None where nobody tells.

    Args:
        card: as ``CUDA_VISIBLE_DEVICES`` names it, by its number or its UUID.
    """
    query = "--query-gpu=index,uuid,memory.free"
    found = command_output("nvidia-smi", query, "--format=csv,noheader,nounits")
    for line in (found or "").splitlines():
        index, uuid, free = (part.strip() for part in line.split(","))
        if card == index or uuid.startswith(card):
            return float(free) * 2**20 if free.replace(".", "").isdecimal() else None
    return None


def slots(device: str, jobs: int | None) -> list[dict[str, str]]:
    """What the environment of each place in the queue says: its GPU, and its share of the cores.

    Args:
        jobs: how many at a time; None is one on each GPU, or one.
    """
    cards = gpus(device)
    count = jobs or len(cards) or 1
    found: list[dict[str, str]] = []
    for place in range(count):
        card = {_CARD: cards[place % len(cards)]} if cards else {}
        # Else every process would take all cores, and they would wait for each other.
        share = {name: str(max(1, usable_cores() // count)) for name in _THREADS}
        asked = count == 1 or any(name in os.environ for name in _THREADS)
        found.append({**card, **({} if asked else share)})
    return found


@dataclass(slots=True)
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    log: BinaryIO
    began: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Local:
    """Executes jobs in processes of this machine.

    Args:
        slots: the environment of each place; see :func:`slots`.
        gpu: bytes that a job of a name takes of a GPU at its peak; None where nothing tells.
        free: bytes of a GPU that jobs may take together; None where nothing tells.
    """

    slots: Sequence[Mapping[str, str]]
    gpu: Callable[[str], float | None] = lambda _name: None
    free: Callable[[str], float | None] = lambda _card: None

    def execute(
        self, jobs: Sequence[Job], watch: Callable[[Sequence[Job]], None]
    ) -> Generator[Ended]:
        """See :class:`~ovbench.harness.suite.executors.Executor`."""
        waiting, running = deque(jobs), dict[int, _Running]()
        with _termination_interrupts():
            try:
                while waiting or running:
                    for place in set(range(len(self.slots))) - running.keys():
                        if (job := self._next(waiting, place, running)) is not None:
                            running[place] = _start(job, self.slots[place])
                    watch([one.job for one in running.values()])
                    time.sleep(_LOOK_EVERY_S)
                    for place, one in list(running.items()):
                        if one.process.poll() is not None:
                            del running[place]
                            yield _ended(one)
            finally:
                _end(list(running.values()))

    def _next(self, waiting: deque[Job], place: int, running: Mapping[int, _Running]) -> Job | None:
        """The first job that a place has room for and in whose directory nobody is at work, such as
        one that outlived its suite; rather one that shares no preparation with what is running.
        """
        made = {one.job.shares for one in running.values()}
        card = self.slots[place].get(_CARD)
        beside = [
            one.job for at, one in running.items() if card and self.slots[at].get(_CARD) == card
        ]
        for job in sorted(waiting, key=lambda job: job.shares in made):  # else in their order
            if self._fits(card, [*beside, job]) and not in_use(job.directory):
                waiting.remove(job)
                return job
        return None

    def _fits(self, card: str | None, jobs: Sequence[Job]) -> bool:
        """Whether a GPU holds jobs at a time: it does one; others only if all is known of all."""
        if card is None or len(jobs) == 1:
            return True
        free, needs = self.free(card), [self.gpu(job.name) for job in jobs]
        known = [_CONTEXT_BYTES + _MARGIN * need for need in needs if need is not None]
        return free is not None and len(known) == len(jobs) and sum(known) <= free


def in_use(directory: Path) -> bool:
    """Whether another process measures there; see :mod:`ovbench.harness.files.alone`."""
    try:
        held = os.open(directory, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not lock(held)
    finally:
        os.close(held)


def _start(job: Job, slot: Mapping[str, str]) -> _Running:
    ready_folder(job.log)
    try:
        log = job.log.open("wb")
    except OSError as error:
        raise unwritable(job.log, error) from None
    # -P: a file of the user's working directory must not pass for a module.
    command = [sys.executable, "-P", "-m", "ovbench", *job.arguments]
    process = subprocess.Popen(
        command,
        env={**os.environ, **slot},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    return _Running(job, process, log)


def _ended(one: _Running) -> Ended:
    one.log.close()
    seconds, code = time.monotonic() - one.began, one.process.returncode
    if code == _INTERRUPTED:  # Ctrl-C reaches every process of a terminal
        raise KeyboardInterrupt
    return Ended(one.job, seconds, None if code == 0 else failure_in(one.job.log, code))


def failure_in(log: Path, code: int) -> str:
    """Why a command failed, in a line: its own last word where it has one."""
    text = ""
    with suppress(OSError):
        text = regular(log).read_text(encoding="utf-8", errors="replace")
    said = [line for line in text.splitlines() if line.startswith("error: ")]
    return said[-1].removeprefix("error: ") if said and code > 0 else death(code, text)


def _end(running: Sequence[_Running]) -> None:
    for one in running:
        with suppress(ProcessLookupError):
            one.process.terminate()
    for one in running:
        try:
            one.process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            one.process.kill()
            one.process.wait()
        one.log.close()


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """SIGTERM, as schedulers send it, ends as Ctrl-C does, and leaves no process behind."""
    if current_thread() is not main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
