"""The conformance kit over every method of the package, through the command line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ovbench.harness.registry import METHODS

# Held to the contract with small settings in tests/adapters: as their papers have them they make
# hundreds of pictures or ask SAM thousands of times, and SegGPT has no packaged weights.
ELSEWHERE = {"ipseg", "ovdiff", "rim", "matcher", "seggpt", "persam"}


@pytest.mark.parametrize(
    "method",
    [
        name
        for name, entry in METHODS.entries.items()
        if entry.package == "ovbench" and name not in ELSEWHERE
    ],
)
def test_every_method_keeps_the_contract(method: str) -> None:
    command = [sys.executable, "-m", "ovbench", "check", method, "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
