"""Methods that are prompted by pictures, where there are none: one line each."""

from __future__ import annotations

from pathlib import Path

import pytest
from in_process import ovbench


@pytest.mark.parametrize("method", ["persam", "seggpt", "painter"])
def test_what_is_missing_is_one_line(method: str, tmp_path: Path) -> None:
    common = ("--dataset", "toyworld", "--limit", "1", "-o", tmp_path / "run")
    done = ovbench("run", "--method", method, *common)
    assert done.returncode == 2, done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert all(word in error for word in ("none shows", "--prompts", "perseg"))
    assert "Traceback" not in done.stderr
