"""The gate through the real command: pinned, passed, and failed by a method that is broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from in_process import ovbench

from ovbench.adapters.pnp_ovss.settings import PLACES

RUN = ["run", "-m", "pnp_ovss", "-d", "toyworld", "--limit", "6", "--set", "crf_iterations=0"]


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


def test_a_broken_method_fails_with_exit_code_3_and_is_named(
    pinned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the attention of the layer behind the one that was tuned."""
    broken, tuned = str(pinned / "broken"), PLACES["toyworld/blip"]
    monkeypatch.setitem(PLACES, "toyworld/blip", tuned._replace(layer=tuned.layer + 1))
    assert ovbench(*RUN, "-o", broken).returncode == 0
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
