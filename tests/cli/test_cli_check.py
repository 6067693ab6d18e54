"""The conformance kit over every method of the package, through the command line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ovbench.harness.registry import METHODS


@pytest.mark.parametrize(
    "method", [n for n, e in METHODS.entries.items() if e.package == "ovbench"]
)
def test_every_method_keeps_the_contract(method: str) -> None:
    command = [sys.executable, "-m", "ovbench", "check", method, "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
