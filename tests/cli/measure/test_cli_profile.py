"""``ovbench profile``, in processes of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from in_process import ovbench
from PIL import Image

from ovbench.harness.files.json_files import sealed
from ovbench.harness.profile.sweep import PROFILE_SCHEMA_VERSION

TOYWORLD = ["--dataset", "toyworld", "--device", "cpu", "--limit", "4"]
QUICK = [*TOYWORLD, "--repeats", "3", "--warmup", "1"]


@pytest.fixture(scope="module")
def installed(registered: Callable[..., dict[str, str]]) -> dict[str, str]:
    """An environment with the methods of trying_method.py."""
    return registered("trying_method", trying="Trying", hungry="Hungry")


def profile(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ovbench", "profile", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def rows_of(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["rows"]


def assert_consistent(row: dict[str, Any]) -> None:
    assert (row["status"], row["reason"]) == ("ok", None)
    figures = row["figures"]
    latency = figures["latency_s"]
    assert 0 < latency["median"] <= latency["p95"]
    assert figures["images_per_s"] == pytest.approx(row["batch_size"] / latency["median"])
    outer = [s["share"] for name, s in figures["stages"].items() if "/" not in name]
    assert all(0 <= share <= 1 for share in outer)
    assert sum(outer) <= 1
    assert figures["prepare_s"] > 0
    assert figures["peak_rss_bytes"] > 10 * 2**20
    assert figures["peak_gpu_bytes"] is None


def test_two_methods_as_table_json_and_picture(tmp_path: Path) -> None:
    grid = ["--batch-sizes", "2", "--sizes", "64", "--precisions", "fp32"]
    files = ["-o", tmp_path / "new" / "p.json", "--plot", tmp_path / "p.png"]
    done = profile("constant", "maskclip", *QUICK, *grid, *files)
    assert done.returncode == 0, done.stderr
    for words in ("toyworld val, 4 images", "on cpu", "maskclip", "64x64", "GiB RSS", "encode"):
        assert words in done.stdout
    assert "2 of 2 configurations to do" in done.stderr
    assert "1/2 configurations, constant fp32 64x64 batch 2" in done.stderr
    assert "s left" in done.stderr
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.format == "PNG"
    found = json.loads((tmp_path / "new" / "p.json").read_text())
    assert found["schema_version"] == PROFILE_SCHEMA_VERSION
    assert found["complete"]
    assert found["command"].startswith("ovbench profile constant maskclip")
    assert found["environment"]["packages"]["numpy"]
    conditions = found["conditions"]
    assert conditions["grid"] == {
        "methods": ["constant", "maskclip"],
        "batch_sizes": [2],
        "sizes": ["64x64"],
        "precisions": ["fp32"],
    }
    assert (conditions["device"], conditions["repeats"], conditions["warmup"]) == ("cpu", 3, 1)
    assert (conditions["dataset"]["name"], conditions["dataset"]["num_images"]) == ("toyworld", 4)
    assert conditions["checkpoints"] == "toy"
    names = [(row["method"], row["size"], row["batch_size"]) for row in found["rows"]]
    assert names == [("constant", "64x64", 2), ("maskclip", "64x64", 2)]
    for row in found["rows"]:
        assert_consistent(row)
    constant, maskclip = (row["figures"] for row in found["rows"])
    assert maskclip["latency_s"]["median"] > constant["latency_s"]["median"]
    assert maskclip["peak_rss_bytes"] > constant["peak_rss_bytes"]
    assert maskclip["checkpoints"][0]["role"] == "clip"
    assert constant["settings"] == {"label": 0}


def test_known_times_are_found(installed: dict[str, str]) -> None:
    arguments = ["--batch-sizes", "1,3", "--set", "hold=1", "--json"]
    one, three = rows_of(profile("trying", *QUICK, *arguments, env=installed))
    for row in (one, three):
        assert_consistent(row)
        images, figures = row["batch_size"], row["figures"]
        assert figures["prepare_s"] >= 0.05
        assert figures["latency_s"]["median"] >= 0.03 * images + 0.005
        assert set(figures["stages"]) == {"look", "look/closely", "answer"}
        assert figures["stages"]["look"]["mean_s"] >= 0.02 * images + 0.005
        assert figures["settings"]["hold"] == 1


@pytest.mark.parametrize(
    ("fail", "status", "reason"),
    [
        ("memory", "out_of_memory", "Unable to allocate 1.00 PiB"),
        ("kill", "failed", "killed by SIGKILL; perhaps out of memory"),
    ],
)
def test_a_failure_is_a_row(
    installed: dict[str, str], tmp_path: Path, fail: str, status: str, reason: str
) -> None:
    files = ["-o", tmp_path / "p.json", "--plot", tmp_path / "p.png"]
    arguments = [*QUICK, "--set", f"fail={fail}", "--batch-sizes", "2,1", *files]
    done = profile("trying", *arguments, env=installed)
    assert done.returncode == 0, done.stderr
    assert status.replace("_", " ") in done.stdout
    two, one = json.loads((tmp_path / "p.json").read_text())["rows"]
    assert (two["batch_size"], two["status"], two["figures"]) == (2, status, None)
    assert reason in two["reason"]
    assert "\n" not in two["reason"]
    assert reason in done.stderr
    assert_consistent(one)


def test_a_precision_that_a_method_lacks_is_a_row(installed: dict[str, str]) -> None:
    grid = ["--batch-sizes", "1", "--precisions", "fp16,fp32"]
    half, whole = rows_of(profile("trying", *QUICK, *grid, "--json", env=installed))
    assert (half["status"], half["reason"]) == ("failed", "trying has no fp16")
    assert_consistent(whole)


def test_nothing_measured_is_exit_code_1(installed: dict[str, str]) -> None:
    done = profile("trying", *QUICK, "--set", "fail=raise", "--batch-sizes", "2", env=installed)
    assert done.returncode == 1
    assert "one image at a time" in done.stdout
    assert done.stderr.splitlines()[-1] == "error: no configuration could be measured"


def test_sizes_reach_the_method(installed: dict[str, str]) -> None:
    grid = ["--batch-sizes", "2", "--sizes", "64,40x30,native"]
    arguments = [*QUICK, "--set", "fail=tell", *grid, "--json"]
    done = profile("trying", *arguments, env=installed)
    reasons = [row["reason"] for row in json.loads(done.stdout)["rows"]]
    native = (96, 96, 3)
    assert reasons == [
        f"ValueError: shapes {[shape] * 2}" for shape in ((64, 64, 3), (30, 40, 3), native)
    ]


def test_peak_memory_is_each_configurations_own(installed: dict[str, str]) -> None:
    grid = ["--batch-sizes", "1", "--json"]
    hungry, small = rows_of(profile("hungry", "trying", *QUICK, *grid, env=installed))
    (alone,) = rows_of(profile("trying", *QUICK, *grid, env=installed))
    peaks = [row["figures"]["peak_rss_bytes"] / 2**20 for row in (hungry, small, alone)]
    assert peaks[0] >= peaks[1] + 350
    assert peaks[1] == pytest.approx(peaks[2], rel=0.1)


def test_the_same_command_keeps_its_rows(tmp_path: Path) -> None:
    output = tmp_path / "p.json"
    arguments = ["constant", *QUICK, "--batch-sizes", "1,2,3", "-o", output]
    assert profile(*arguments).returncode == 0
    found = json.loads(output.read_text())
    kept, failed, _ = found["rows"]
    kept["figures"]["prepare_s"] = 123.0  # to know it again
    failed.update(status="failed", reason="bad luck", figures=None)
    output.write_text(json.dumps(sealed({**found, "complete": False, "rows": [kept, failed]})))
    done = profile(*arguments)
    assert done.returncode == 0, done.stderr
    assert "2 of 3 configurations to do" in done.stderr
    rows = json.loads(output.read_text())["rows"]
    assert [row["batch_size"] for row in rows] == [1, 2, 3]
    assert [row["status"] for row in rows] == ["ok"] * 3
    assert rows[0]["figures"]["prepare_s"] == 123.0
    other = profile(*arguments, "--repeats", "4")
    assert other.returncode == 2
    assert "differs in: conditions.repeats" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["maskclap"], "did you mean 'maskclip'"),
        (["constant", "--batch-sizes", "1,0"], "batch size '0'"),
        (["constant", "--sizes", "96,big"], "size 'big'"),
        (["constant", "random", "--set", "label=1"], "'label'"),
        (["constant", "--plot", "chart.jpg"], "chart.jpg"),
        (["constant", "--plot", "/dev/null/chart.png"], "/dev/null"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    done = ovbench("profile", "--dataset", "toyworld", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line
