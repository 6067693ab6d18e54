from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from ovbench.harness.contract.stages import is_out_of_memory
from ovbench.harness.profile.isolated import Outcome, call_isolated


def test_the_answer_comes_back() -> None:
    assert call_isolated(sorted, [3, 1, 2]) == Outcome("ok", [1, 2, 3])


def test_what_the_function_prints_does_not_spoil_the_answer() -> None:
    assert call_isolated(print, '{"status": "failed"}') == Outcome("ok", None)
    assert call_isolated(os.system, "echo hello") == Outcome("ok", 0)


def test_the_working_directory_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('not the real one')")
    monkeypatch.chdir(tmp_path)
    assert call_isolated(len, "four").answer == 4


def test_an_exception_is_its_first_line() -> None:
    outcome = call_isolated(json.loads, "[1")
    assert outcome.status == "failed"
    assert outcome.reason == "JSONDecodeError: Expecting ',' delimiter: line 1 column 3 (char 2)"


def test_an_exit_is_a_failure() -> None:
    outcome = call_isolated(sys.exit, "enough")
    assert (outcome.status, outcome.reason) == ("failed", "ended with exit code 1: enough")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_crash_is_a_failure() -> None:
    assert call_isolated(ctypes.string_at, 0).reason == "killed by SIGSEGV"
    outcome = call_isolated(signal.raise_signal, signal.SIGKILL)
    assert outcome == Outcome("failed", None, "killed by SIGKILL; perhaps out of memory")


def test_memory_that_runs_out_is_told_apart() -> None:
    assert call_isolated(bytes, 2**60).status == "out_of_memory"


def test_errors_that_mean_out_of_memory() -> None:
    import torch

    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
