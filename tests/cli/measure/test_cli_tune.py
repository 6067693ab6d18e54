"""``ovbench tune`` and ``--settings``."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from in_process import ovbench

from ovbench.harness.registry.names import METHODS, Entry

OVBENCH = [sys.executable, "-m", "ovbench"]
TUNE = ["tune", "--method", "peak", "--dataset", "toyworld", "--device", "cpu", "--limit", "6"]


@pytest.fixture(scope="module")
def installed(registered: Callable[..., dict[str, str]]) -> dict[str, str]:
    """An environment in which the method of peak_method.py is registered as ``peak``."""
    return registered("peak_method", peak="Peak")


@pytest.fixture(autouse=True)
def _registered_here(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Entry("peak_method:Peak", package="peak-method")
    monkeypatch.setitem(METHODS.entries, "peak", entry)  # type: ignore[misc]


def test_the_printed_command_runs_with_the_best_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tuned = ovbench(*TUNE, "--trials", "0", "--checkpoints", "toy")
    assert tuned.returncode == 0, tuned.stderr
    assert "9 of 9 trials to do" in tuned.stderr
    for words in ("layer=3", "sigma=0.5", "per class", "median", "6 images of toyworld train"):
        assert words in tuned.stdout
    (directory,) = (tmp_path / "runs").iterdir()
    assert directory.name.startswith("tune-peak-toyworld-")
    command = tuned.stdout.splitlines()[-1]
    file = f"runs/{directory.name}/settings.json"
    assert command == (
        f"ovbench run --method peak --dataset toyworld --checkpoints toy --settings {file}"
    )
    run = [*shlex.split(command)[1:], "--limit", "2", "--output", "run", "--set", "pause=0.5"]
    done = ovbench(*run)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["config"] == {"layer": 3, "sigma": 0.5, "pause": 0.5}
    assert result["run"]["changes"] == result["config"]
    tuning = result["tuning"]
    assert (tuning["dataset"], tuning["split"], tuning["num_images"]) == ("toyworld", "train", 6)
    assert tuning["measured"] == 0
    assert "tuned on 6 images of toyworld train" in done.stdout


def test_json_on_stdout_is_the_settings_file(tmp_path: Path) -> None:
    arguments = [*TUNE, "--trials", "2", "--output", tmp_path, "--json", "--preset", "one"]
    done = ovbench(*arguments)
    assert json.loads(done.stdout) == json.loads((tmp_path / "settings.json").read_text())
    again = ovbench(*arguments)
    assert again.stdout == done.stdout
    assert "0 of 4 trials to do" in again.stderr


def trials_in(directory: Path) -> int:
    path = directory / "trials.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_killed_searches_go_on_behind_their_last_trial(
    installed: dict[str, str], tmp_path: Path
) -> None:
    arguments = [*TUNE, "--trials", "0", "--set", "pause=0.02"]
    assert ovbench(*arguments, "--output", tmp_path / "whole").returncode == 0
    directory = tmp_path / "killed"
    command = [*OVBENCH, *arguments, "--output", str(directory)]
    for goal in (2, 6):
        process = subprocess.Popen(
            command, env=installed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and trials_in(directory) < goal:
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert goal <= trials_in(directory) < 9
    subprocess.run(command, env=installed, capture_output=True, check=True)
    logs = []
    for name in ("whole", "killed"):
        lines = (tmp_path / name / "trials.jsonl").read_text().splitlines()
        logs.append([{**json.loads(line), "seconds": 0, "crc": 0} for line in lines])
    assert logs[0] == logs[1]


def test_a_preset_yields_to_the_file_and_the_file_to_set(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text('{"method": "peak", "settings": {"layer": 2, "sigma": 0.1}}')
    run = ["run", "--method", "peak", "--dataset", "toyworld", "--device", "cpu", "--limit", "1"]
    done = ovbench(
        *run, "--preset", "one", "--settings", file, "--set", "sigma=0.9",
        "--output", tmp_path / "run", "--json",
    )  # fmt: skip
    assert json.loads(done.stdout)["config"] == {"layer": 2, "sigma": 0.9, "pause": 0.0}


def test_check_takes_a_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text('{"method": "peak", "settings": {"depth": 2}}')
    refused = ovbench("check", "peak", "--settings", file)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "no setting 'depth'" in refused.stderr
    file.write_text('{"method": "peak", "settings": {"layer": 2}}')
    done = ovbench("check", "peak", "--settings", file)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "constant"], "constant has nothing to tune"),
        (["--method", "peek"], "did you mean 'peak'"),
        (["--method", "peak", "--set", "layer=1", "--set", "sigma=1"], "nothing left to tune"),
        (["--method", "peak", "--set", "layer"], "name=value"),
        (["--method", "peak", "--settings", "/nowhere.json"], "/nowhere.json"),
        (["--method", "peak", "--split", "tset"], "tset"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    done = ovbench("tune", "--dataset", "toyworld", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_another_search_in_the_directory_is_refused(tmp_path: Path) -> None:
    arguments = [*TUNE, "--trials", "1", "--output", tmp_path]
    assert ovbench(*arguments).returncode == 0
    done = ovbench(*arguments, "--seed", "1")
    assert done.returncode == 2
    assert "another search (differs in: seed)" in done.stderr
