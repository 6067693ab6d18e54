"""What a command takes seconds to import, it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from ovbench.cli import main

run = sys.argv[1]
heavy = {"torch", "torchvision", "timm", "transformers", "open_clip", "diffusers", "matplotlib"}
for line in (
    ["run", "-m", "random", "-d", "toyworld", "--limit", "2", "-o", run],
    ["rescore", run],
    ["compare", run, run],
    ["report", run, "--no-pictures", "-o", run + "/report.html"],
):
    sys.argv = ["ovbench", *line]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, line
    assert not heavy & set(sys.modules), (line, heavy & set(sys.modules))
print("none is imported")
"""


def test_a_run_without_networks_and_reading_one_import_nothing_heavy(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("none is imported\n"), done.stderr
