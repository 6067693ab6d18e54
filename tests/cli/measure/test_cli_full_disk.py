"""A disk that is full while a run records: one line, nothing lost, and the same command goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from in_process import ovbench

resource = pytest.importorskip("resource", reason="needs limits of file sizes")

RUN = ("run", "-m", "random", "-d", "toyworld", "--limit", "12", "--output")
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)),) * 2)
from ovbench.cli import main
main()
"""


def numbers(run: Path) -> Any:
    result = json.loads((run / "result.json").read_text())
    return result["metrics"], result["per_class"]


def test_no_room_for_records(tmp_path: Path) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    assert ovbench(*RUN, whole).returncode == 0
    shard = (whole / "records" / "rank-0.jsonl").read_bytes()
    room = len(shard) // 2
    command = [sys.executable, "-c", LIMITED, str(room), *RUN, str(run)]
    full = subprocess.run(command, capture_output=True, text=True, check=False)
    assert full.returncode == 1
    assert full.stderr.splitlines()[-1] == (
        f"error: {run / 'records' / 'rank-0.jsonl'}: cannot be written (File too large); "
        "make room there, and the same command goes on"
    )
    assert (run / "records" / "rank-0.jsonl").stat().st_size == room
    done = ovbench(*RUN, run)
    assert done.returncode == 0, done.stderr
    assert numbers(run) == numbers(whole)
