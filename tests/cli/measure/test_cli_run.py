"""``ovbench run``; what is killed, and what shares a run, in processes of their own."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from in_process import ovbench

OVBENCH = [sys.executable, "-m", "ovbench"]
TOYWORLD = ["run", "--method", "random", "--dataset", "toyworld", "--device", "cpu"]


def numbers(result: dict) -> tuple:
    return result["metrics"], result["per_class"], result["run"]["num_images"]


def test_run_prints_a_table_and_writes_a_run_directory(tmp_path: Path) -> None:
    done = ovbench(*TOYWORLD, "--limit", "8", "--output", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    for words in ("mIoU", "boundary IoU", "seconds per image", "peak memory", "circle"):
        assert words in done.stdout
    assert done.stdout.splitlines()[-1] == str(tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["run"]["command"].startswith("ovbench run --method random")
    assert f"{result['metrics']['miou']:.2f}" in done.stdout
    assert "8 of 8 images to do" in done.stderr


def test_json_on_stdout_is_the_result_and_nothing_else(tmp_path: Path) -> None:
    done = ovbench(*TOYWORLD, "--limit", "3", "--output", tmp_path, "--json")
    assert json.loads(done.stdout) == json.loads((tmp_path / "result.json").read_text())


def test_the_default_directory_is_named_after_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ovbench(*TOYWORLD, "--limit", "2").returncode == 0
    (run,) = (tmp_path / "runs").iterdir()
    identity = json.loads((run / "result.json").read_text())["run"]["id"]
    assert run.name == f"random-toyworld-{identity}"


def records_in(run: Path) -> int:
    shards = (run / "records").glob("rank-*.jsonl")
    return sum(shard.read_bytes().count(b'"image"') for shard in shards)


def kill_after(process: subprocess.Popen[bytes], run: Path, images: int) -> None:
    """Kill the process, without a warning, once it has recorded so many images more."""
    goal = records_in(run) + images
    while process.poll() is None and records_in(run) < goal:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_killed_five_times_at_random_moments_equals_never_killed(tmp_path: Path) -> None:
    arguments = [*TOYWORLD, "--batch-size", "3", "--limit", "150"]
    assert ovbench(*arguments, "--output", tmp_path / "whole").returncode == 0
    run, moments = tmp_path / "run", random.Random(0)
    for _ in range(5):
        command = [*OVBENCH, *arguments, "--output", str(run)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        kill_after(process, run, moments.randint(1, 25))
        assert process.returncode == -signal.SIGKILL
        assert not (run / "result.json").exists()
    before = records_in(run)
    assert 5 <= before < 150
    done = ovbench(*arguments, "--output", run)
    assert done.returncode == 0, done.stderr
    results = [json.loads((d / "result.json").read_text()) for d in (run, tmp_path / "whole")]
    assert numbers(results[0]) == numbers(results[1])
    assert records_in(run) == 150


def torchrun(processes: int, *arguments: str | Path) -> list[str]:
    return [
        sys.executable, "-m", "torch.distributed.run", "--standalone",
        f"--nproc-per-node={processes}", "-m", "ovbench", *map(str, arguments),
    ]  # fmt: skip


@pytest.mark.parametrize("processes", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_several_processes_give_the_result_of_one(tmp_path: Path, processes: int) -> None:
    arguments = [*TOYWORLD, "--limit", "50", "--batch-size", "4"]
    assert ovbench(*arguments, "--output", tmp_path / "one").returncode == 0
    command = torchrun(processes, *arguments, "--output", tmp_path / "many", "--json")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    one, many = (json.loads((tmp_path / d / "result.json").read_text()) for d in ("one", "many"))
    assert json.loads(done.stdout) == many
    assert numbers(one) == numbers(many)
    assert many["run"]["processes"] == processes
    shards = sorted((tmp_path / "many" / "records").iterdir())
    images = [json.loads(line).get("image") for s in shards for line in s.read_text().splitlines()]
    assert len(shards) == processes
    assert sorted(filter(None, images)) == [f"val-{i:06d}" for i in range(50)]


def children_of(parent: int) -> list[int]:
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in found]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
@pytest.mark.parametrize("processes", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_killed_process_is_made_up_for(tmp_path: Path, processes: int) -> None:
    arguments = [*TOYWORLD, "--batch-size", "4", "--limit", "200"]
    run = tmp_path / "run"
    command = torchrun(processes, *arguments, "--output", run)
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while records_in(run) < 20 and parent.poll() is None:
        time.sleep(0.001)
    os.kill(children_of(parent.pid)[-1], signal.SIGKILL)
    assert parent.wait() != 0
    assert not (run / "result.json").exists()
    assert 20 <= records_in(run) < 200
    done = ovbench(*arguments, "--output", run)  # the rest, by one process
    assert done.returncode == 0, done.stderr
    assert ovbench(*arguments, "--output", tmp_path / "one").returncode == 0
    results = [json.loads((d / "result.json").read_text()) for d in (run, tmp_path / "one")]
    assert numbers(results[0]) == numbers(results[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "maskclap", "--dataset", "toyworld"], "did you mean 'maskclip'"),
        (["--method", "random", "--dataset", "toywrld"], "did you mean 'toyworld'"),
        (["--method", "random", "--dataset", "voc", "--root", "/nowhere"], "/nowhere"),
        (["--method", "constant", "--dataset", "toyworld", "--set", "labl=1"], "'label'"),
        (["--method", "constant", "--dataset", "toyworld", "--set", "label"], "name=value"),
        (["--method", "constant", "--dataset", "toyworld", "--preset", "best"], "no preset"),
        (["--method", "constant", "--dataset", "toyworld", "--names", "fancy"], "fancy"),
        (["--method", "constant", "--dataset", "toyworld", "--device", "cuda:77"], "cuda:77"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    done = ovbench("run", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line
