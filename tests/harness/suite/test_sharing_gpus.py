"""Several jobs on a GPU where memory allows, and none beside one whose preparation it shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from ovbench.harness.suite import local
from ovbench.harness.suite.executors import Job, staggered

GIB = 2.0**30


def job(folder: Path, name: str, shares: str = "") -> Job:
    return Job(name, ("--version",), folder / name, folder / "logs" / f"{name}.log", shares)


def together(
    jobs: Sequence[Job], cards: Sequence[str], needs: Mapping[str, float], free: float | None
) -> set[frozenset[str]]:
    """Which jobs ran at the same time, on a place for each card that is named."""
    slots = [{"CUDA_VISIBLE_DEVICES": card} for card in cards]
    seen: list[frozenset[str]] = []
    executor = local.Local(slots, needs.get, lambda _card: free)
    watch = seen.append
    ended = [
        one.job.name
        for one in executor.execute(
            jobs, lambda running: watch(frozenset(one.name for one in running))
        )
    ]
    assert sorted(ended) == sorted(one.name for one in jobs)
    return set(seen)


def test_small_jobs_share_a_gpu_and_large_or_unknown_ones_do_not(tmp_path: Path) -> None:
    jobs = [job(tmp_path, name) for name in ("a", "b")]
    both = frozenset({"a", "b"})
    # 2 × (1.2 × 4 + 0.6) GiB are 10.8.
    small = {"a": 4 * GIB, "b": 4 * GIB}
    assert both in together(jobs, ["0", "0"], small, 11 * GIB)
    assert both not in together(jobs, ["0", "0"], small, 10.5 * GIB)
    assert both not in together(jobs, ["0", "0"], {"a": GIB}, 80 * GIB)
    assert both not in together(jobs, ["0", "0"], small, None)
    assert both in together(jobs, ["0", "1"], {}, None)


def test_a_place_takes_a_later_job_that_fits(tmp_path: Path) -> None:
    jobs = [job(tmp_path, name) for name in ("large", "larger", "small")]
    needs = {"large": 8 * GIB, "larger": 9 * GIB, "small": GIB}
    seen = together(jobs, ["0", "0"], needs, 12 * GIB)
    assert frozenset({"large", "small"}) in seen
    assert frozenset({"large", "larger"}) not in seen


def test_jobs_that_share_a_preparation_begin_apart(tmp_path: Path) -> None:
    jobs = [job(tmp_path, name, name[0]) for name in ("a1", "a2", "b1", "b2")]
    assert [one.name for one in staggered(jobs)] == ["a1", "b1", "a2", "b2"]
    seen = together(jobs, ["0", "1"], {}, None)
    assert frozenset({"a1", "b1"}) in seen
    assert frozenset({"a1", "a2"}) not in seen


def test_the_free_memory_of_a_gpu_is_asked_by_number_or_uuid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = "0, GPU-aa11, 81000\n1, GPU-bb22, [N/A]"
    monkeypatch.setattr(local, "command_output", lambda *_command: said)
    local.free_bytes.cache_clear()
    assert local.free_bytes("0") == local.free_bytes("GPU-aa") == 81000 * 2**20
    assert local.free_bytes("1") is None
    assert local.free_bytes("7") is None
    local.free_bytes.cache_clear()
