"""Several processes on one run, as started by ``torchrun``.

Processes agree twice: at the start on what is left to do, at the end on being done. In
between each works alone and appends to its own shard, so a process that dies takes nothing
with it. The run directory must be on a file system that all of them see.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from ovbench.errors import OvbenchError, UsageError
from ovbench.harness.contract.progress import say
from ovbench.harness.results.environment import usable_cores

T = TypeVar("T")

# The slowest rank may be hours behind the first: only a death ends the wait.
PATIENCE = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class World:
    """The processes of this run; ``World()`` is one process alone.

    Attributes:
        local_size: how many of them are on this machine.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1

    def broadcast(self, value: T) -> T:
        """Rank 0's value, on every rank."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        box = [value]
        self._guarded(lambda: dist.broadcast_object_list(box, src=0))
        return box[0]

    def gather(self, value: T) -> list[T]:
        """Every rank's value in rank order, on every rank."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        box: list[T] = [value] * self.size
        self._guarded(lambda: dist.all_gather_object(box, value))
        return box

    def leave(self) -> None:
        """End the process group; nothing is shared afterwards."""
        if self.size > 1:
            import torch.distributed as dist

            dist.destroy_process_group()

    @staticmethod
    def _guarded(collective: Callable[[], object]) -> None:
        try:
            collective()
        except RuntimeError as error:
            raise OvbenchError(
                "another process of this run died; what it finished is kept, run the same "
                f"command again for the rest ({str(error).splitlines()[0][:120]})"
            ) from None


def join_world() -> World:
    """Join the other processes if ``torchrun`` started this one, else be alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    import torch.distributed as dist

    # gloo on GPUs too: a few kilobytes are exchanged, and NCCL would hold GPU memory that
    # the profile would then count as the method's.
    dist.init_process_group("gloo", timeout=PATIENCE)
    return World(dist.get_rank(), size, int(os.environ.get("LOCAL_WORLD_SIZE", size)))


def share_cores(world: World) -> None:
    """Take no more threads than this process's share of the cores, and say where that fails.

    More threads than cores wait for each other in the middle of every operation. What the user
    asked for by ``OMP_NUM_THREADS`` or ``MKL_NUM_THREADS`` stays, and so does a smaller number.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return
    cores, processes = usable_cores(), world.local_size
    asked = {"OMP_NUM_THREADS", "MKL_NUM_THREADS"} & os.environ.keys()
    if not asked and torch.get_num_threads() * processes > cores:
        torch.set_num_threads(max(1, cores // processes))
    threads = torch.get_num_threads()
    if threads * processes > cores and world.rank == 0:
        say(
            f"{processes} × {threads} threads (processes × OMP_NUM_THREADS) on {cores} cores: "
            "they wait for each other, and times are not the method's"
        )


@contextmanager
def passing_directory(world: World) -> Iterator[Path]:
    """A directory that every process sees and that is gone when the block ends.

    Raises:
        UsageError: the processes are on several machines.
    """
    if world.local_size < world.size:
        raise UsageError("processes on several machines need an output directory that all see")
    path = world.broadcast(tempfile.mkdtemp(prefix="ovbench-") if world.rank == 0 else "")
    try:
        yield Path(path)
    finally:
        if world.rank == 0:
            shutil.rmtree(path, ignore_errors=True)
