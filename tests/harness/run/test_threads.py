"""Processes and threads share the cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from ovbench.harness.contract.progress import Advance, watching
from ovbench.harness.results import environment
from ovbench.harness.run import distributed
from ovbench.harness.run.distributed import World, share_cores


class Listener:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def says(self, line: str) -> None:
        self.lines.append(line)

    @contextmanager
    def watch(self, title: str, total: float | None) -> Iterator[Advance]:
        yield lambda done: None


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Four cores, and six threads that nobody asked for."""
    before = torch.get_num_threads()
    monkeypatch.setattr(distributed, "usable_cores", lambda: 4)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    torch.set_num_threads(6)
    yield
    torch.set_num_threads(before)


def shared(processes: int, rank: int = 0) -> tuple[int, list[str]]:
    """Threads that one of some processes takes, and what it says."""
    listener = Listener()
    with watching(listener):
        share_cores(World(rank, processes, processes))
    return torch.get_num_threads(), listener.lines


@pytest.mark.parametrize(("processes", "threads"), [(1, 4), (2, 2), (3, 1), (4, 1)])
def test_processes_and_threads_are_no_more_than_cores(processes: int, threads: int) -> None:
    assert shared(processes) == (threads, [])


def test_fewer_threads_stay() -> None:
    torch.set_num_threads(1)
    assert shared(2) == (1, [])


def test_what_the_user_asked_for_stays_and_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "6")
    count, (line,) = shared(2)
    assert count == 6
    assert line.startswith("2 × 6 threads (processes × OMP_NUM_THREADS) on 4 cores")
    assert shared(2, rank=1) == (6, [])


def test_more_processes_than_cores_are_said() -> None:
    count, (line,) = shared(5)
    assert count == 1
    assert "5 × 1 threads" in line


def test_a_container_may_have_fewer_cores_than_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cpu.max"
    monkeypatch.setattr(environment, "_CPU_LIMIT", file)
    free = environment.usable_cores()
    for text, cores in (("max 100000", free), ("50000 100000", 1), ("100000 100000", 1)):
        file.write_text(text)
        assert environment.usable_cores() == cores
