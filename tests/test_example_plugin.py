"""The example package is installed as a user would install it, and used through the CLI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "ovbench-colours"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the example package can be imported."""
    target = tmp_path_factory.mktemp("site")
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
        "--no-build-isolation", "--target", str(target), str(EXAMPLE),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return {**os.environ, "PYTHONPATH": str(target)}


def ovbench(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ovbench", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_it_is_listed_with_its_package_and_settings(installed: dict[str, str]) -> None:
    assert "ovbench-colours" in ovbench(installed, "list", "methods").stdout
    assert "colour_patches" in ovbench(installed, "list", "datasets").stdout
    assert (
        "our choice: the middle" in ovbench(installed, "list", "methods", "nearest_colour").stdout
    )


def test_it_runs(installed: dict[str, str], tmp_path: Path) -> None:
    done = ovbench(
        installed, "run", "--method", "nearest_colour", "--dataset", "colour_patches",
        "--preset", "linear", "--set", "unknown=navy", "--output", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["config"] == {"unknown": "navy", "gamma": 2.2}
    assert result["run"]["changes"] == {"unknown": "navy"}
    assert result["run"]["method_version"] == "0.1.0"
    assert result["metrics"]["miou"] > 90
    assert "match" in result["profile"]["stages"]


def test_it_passes_the_conformance_kit(installed: dict[str, str]) -> None:
    done = ovbench(installed, "check", "nearest_colour")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
