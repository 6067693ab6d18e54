"""The conformance kit over every method of the package, through the command line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ovbench.harness.registry import METHODS

# Stable Diffusion runs on every image of the kit; without it the kit is held to IPSeg elsewhere.
SLOW = {"ipseg"}


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name, entry in METHODS.entries.items()
        if entry.package == "ovbench"
    ],
)
def test_every_method_keeps_the_contract(method: str) -> None:
    command = [sys.executable, "-m", "ovbench", "check", method, "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
