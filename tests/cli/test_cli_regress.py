"""The gate through the real command: pinned, passed, and failed by a method that is broken."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

# PnP-OVSS that reads the attention of the layer behind the one that was tuned.
WRONG_LAYER = """
import sys
from ovbench.adapters.pnp_ovss import settings
settings.PLACES["toyworld/blip"] = settings.PLACES["toyworld/blip"]._replace(layer=3)
from ovbench.cli import main
main()
"""
RUN = ["run", "-m", "pnp_ovss", "-d", "toyworld", "--limit", "6", "--set", "crf_iterations=0"]


def ovbench(*arguments: str, program: str | None = None) -> subprocess.CompletedProcess[str]:
    start = ["-m", "ovbench"] if program is None else ["-c", program]
    command = [sys.executable, *start, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def pinned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("gate")
    assert ovbench(*RUN, "-o", str(home / "good")).returncode == 0
    done = ovbench("regress", str(home / "good"), "--expected", str(home / "pins"), "--pin")
    assert done.returncode == 0
    assert done.stdout == f"{home / 'pins' / 'toyworld-pnp_ovss-crf_iterations-0.json'}\n"
    return home


def test_the_same_method_passes(pinned: Path) -> None:
    done = ovbench("regress", str(pinned / "good"), "--expected", str(pinned / "pins"))
    assert done.returncode == 0
    assert "passed: 1 within tolerance, 0 off" in done.stdout


def test_a_broken_method_fails_with_exit_code_3_and_is_named(pinned: Path) -> None:
    broken = str(pinned / "broken")
    assert ovbench(*RUN, "-o", broken, program=WRONG_LAYER).returncode == 0
    done = ovbench("regress", broken, "--expected", str(pinned / "pins"))
    assert done.returncode == 3
    assert "FAILED: 0 within tolerance, 1 off" in done.stdout
    assert "setting layer: 2 → 3" in done.stdout
    answer = ovbench("regress", broken, "--expected", str(pinned / "pins"), "--json")
    assert answer.returncode == 3
    content = json.loads(answer.stdout)
    (row,) = content["rows"]
    assert not content["passed"]
    assert row["finding"] == "off"
    assert row["difference"] == row["measured"] - row["reference"]
    assert abs(row["difference"]) > 5


def test_toy_runs_have_no_counterpart_in_papers_and_do_not_pass(pinned: Path) -> None:
    done = ovbench("regress", str(pinned / "good"), "--paper")
    assert done.returncode == 3
    assert "FAILED: 0 within tolerance, 0 off, 1 not compared" in done.stdout
    assert "miniature weights" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give either --paper or --expected DIR"),
        (["--paper", "--pin"], "--pin goes with --expected"),
        (["--expected", "nowhere"], "nowhere: no pinned values"),
    ],
)
def test_wrong_usage_is_one_line(pinned: Path, options: list[str], message: str) -> None:
    done = ovbench("regress", str(pinned / "good"), *options)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
