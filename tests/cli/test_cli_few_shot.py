"""Methods that are prompted by pictures, where there are none or no weights: one line each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("persam", ("none shows", "--prompts", "perseg")),
        ("seggpt", ("no miniature of seggpt", "--checkpoints real")),
    ],
)
def test_what_is_missing_is_one_line(method: str, words: tuple[str, ...], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ovbench", "run", "--method", method]
    command += ["--dataset", "toyworld", "--limit", "1", "-o", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert all(word in error for word in words)
    assert "Traceback" not in done.stderr
