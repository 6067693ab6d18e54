"""How a command ends that does not end well: one line on stderr, and an exit code."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from in_process import ovbench
from typer import Exit

from ovbench.leaderboards.tables import table

OVBENCH = [sys.executable, "-m", "ovbench"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("miou"), "unexpected KeyError: 'miou'"),
        (ValueError("one\ntwo"), "unexpected ValueError: one"),
        (MemoryError(), "out of memory (MemoryError)"),
        (RecursionError("too deep"), "unexpected RecursionError: too deep"),
        (OSError(5, "Input/output error"), "unexpected OSError: [Errno 5] Input/output error"),
    ],
)
def test_what_nobody_foresaw_is_a_line_and_a_file(
    error: Exception, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_paths: object) -> None:
        raise error

    monkeypatch.setattr(table, "find_results", fails)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("OVBENCH_DEBUG")
    done = ovbench("leaderboard", "runs")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    found = re.fullmatch(r"error: (.*); the traceback is in (.*)", line)
    assert found is not None
    assert found[1] == words
    kept = Path(found[2]).read_text()
    assert "in fails" in kept
    assert "'leaderboard', 'runs'" in kept
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    done = ovbench("leaderboard", "runs")
    assert "the traceback cannot be kept (No such file or directory)" in done.stderr
    monkeypatch.setenv("OVBENCH_DEBUG", "1")
    with pytest.raises(type(error)):
        ovbench("leaderboard", "runs")


def test_an_exit_code_of_a_command_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaves(_paths: object) -> None:
        raise Exit(3)

    monkeypatch.setattr(table, "find_results", leaves)
    assert ovbench("leaderboard", "runs").returncode == 3


@contextmanager
def _hearing_ctrl_c() -> Iterator[None]:
    """What a shell starts in the background ignores it, and so would children started there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_says_that_the_same_command_goes_on(tmp_path: Path) -> None:
    command = [*OVBENCH, "run", "-m", "constant", "-d", "toyworld", "--limit", "400"]
    command += ["--device", "cpu", "--workers", "1", "--output", str(tmp_path / "run")]
    with _hearing_ctrl_c():
        started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with started as process:
        assert process.stderr is not None
        while "400 of 400 images to do" not in (line := process.stderr.readline()):
            assert line
        shard = tmp_path / "run" / "records" / "rank-0.jsonl"
        while process.poll() is None:
            if shard.exists() and shard.read_bytes().count(b"\n") >= 3:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
    assert told == "interrupted; the same command goes on from here\n"
    assert process.returncode == 130
    done = ovbench(*command[3:])
    assert done.returncode == 0, done.stderr
    remaining = re.search(r"(\d+) of 400 images to do", done.stderr)
    assert remaining is not None
    assert 0 < int(remaining[1]) < 400


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", [["--help"], ["list", "--json"]])
def test_a_full_disk_and_a_closed_pipe(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = _run(words, full)
    assert done.returncode == 1
    assert done.stderr == "error: stdout cannot be written (No space left on device)\n"
    reader, writer = os.pipe()
    os.close(reader)
    done = _run(words, writer)
    os.close(writer)
    assert done.returncode in (1, 141)  # typer ends its own printing with 1
    assert done.stderr == ""


def _run(words: list[str], stdout: Any) -> subprocess.CompletedProcess[str]:
    pipe = subprocess.PIPE
    return subprocess.run([*OVBENCH, *words], stdout=stdout, stderr=pipe, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "named"),
    [(["-o", ""], "-o"), (["--split="], "--split"), (["--names", "  "], "--names")],
)
def test_a_variable_that_is_not_set_writes_nowhere(
    words: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = ovbench("run", "--method", "constant", "--dataset", "toyworld", "--limit", 1, *words)
    assert done.returncode == 2
    assert re.fullmatch(rf"error: an empty value (behind|for) {named}; is a .*\n", done.stderr)
    assert not list(tmp_path.iterdir())
