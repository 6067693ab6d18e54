"""Make the runs of a gate's list as gate.sh does, as forks of a process that has imported PyTorch.

    python ci/forks.py LIST RUNS JOBS

Importing what CLIP needs takes most of the time of a short run. The figures are those of runs on
their own, but for the memory: what was imported is in all of it.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

import diffusers  # noqa: F401
import open_clip  # noqa: F401
import transformers  # noqa: F401

from ovbench.cli import main as ovbench


def main() -> int:
    """How many of the runs failed."""
    listed, runs, jobs = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    runs.mkdir(parents=True, exist_ok=True)
    lines = [line for line in listed.read_text().splitlines() if line.strip() and line[0] != "#"]
    running: dict[int, str] = {}
    failed = 0
    for line in [*lines, *[""] * jobs]:  # the blanks wait for what still runs
        if len(running) == jobs or (running and not line):
            failed += reaped(running, runs)
        if line:
            running[forked(line, runs)] = line
    return failed


def forked(line: str, runs: Path) -> int:
    """The process that makes a run."""
    sys.stdout.flush()
    if child := os.fork():
        return child
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(log_of(line, runs), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), 2)
        folder = log_of(line, runs).with_suffix("")
        sys.argv = ["ovbench", "run", *shlex.split(line), "--output", str(folder), "--json"]
        ovbench()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.stderr.flush()
        os._exit(code)


def reaped(running: dict[int, str], runs: Path) -> bool:
    """Wait for one of the processes; whether its run failed."""
    child, status = os.wait()
    line = running.pop(child)
    if status:
        last = log_of(line, runs).read_text().splitlines()[-3:]
        print(f"failed: ovbench run {line}", *last, sep="\n", file=sys.stderr)
    return bool(status)


def log_of(line: str, runs: Path) -> Path:
    """Where a run's standard error goes, beside its directory."""
    return runs / (re.sub(r"[^a-zA-Z0-9_=]+", "-", line).strip("-") + ".log")


if __name__ == "__main__":
    sys.exit(main() and 1)
