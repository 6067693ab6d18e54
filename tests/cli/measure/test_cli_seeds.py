"""``ovbench run --seeds`` in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = ["run", "--method", "random", "--dataset", "toyworld", "--device", "cpu", "--limit", "3"]


def ovbench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ovbench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_each_seed_is_a_run_and_they_are_summed_up(tmp_path: Path) -> None:
    done = ovbench(*RUN, "--seeds", "5,9", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    results = [
        json.loads((tmp_path / f"seed-{seed}" / "result.json").read_text()) for seed in (5, 9)
    ]
    first, second = (result["metrics"]["miou"] for result in results)
    assert first != second
    assert [result["run"]["seed"] for result in results] == [5, 9]
    summary = json.loads((tmp_path / "seeds.json").read_text())
    miou = summary["metrics"]["miou"]
    assert miou["mean"] == pytest.approx((first + second) / 2)
    assert miou["std"] == pytest.approx(abs(first - second) / 2**0.5)
    line, path = done.stdout.splitlines()
    assert line == f"mIoU {miou['mean']:.1f} ± {miou['std']:.1f} over seeds 5, 9"
    assert path == str(tmp_path / "seeds.json")

    # A single run of one of the seeds is the same run; the others go on from what is there.
    alone = ovbench(*RUN, "--seed", "9", "--output", tmp_path / "seed-9", "--json")
    assert json.loads(alone.stdout)["run"]["id"] == results[1]["run"]["id"]
    (tmp_path / "seed-5" / "result.json").unlink()
    more = ovbench(*RUN, "--seeds", "5,9,11", "--output", tmp_path, "--json")
    assert more.returncode == 0, more.stderr
    found = json.loads(more.stdout)
    assert found["metrics"]["miou"]["values"][:2] == [first, second]
    assert (tmp_path / "seed-5" / "result.json").exists()


def test_nonsense_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    done = ovbench(*RUN, "--seeds", "1", "--output", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --seeds '1': give two seeds or more")
    assert not (tmp_path / "out").exists()
