"""RIM through the real command line: the first run makes its references, the second has them."""

from __future__ import annotations

import json
from pathlib import Path

from in_process import ovbench

RUN = ("run", "--method", "rim", "--dataset", "toyworld")


def run(output: Path, *settings: str) -> dict:
    values = ("pictures=2", "steps=2", "subcategories=2", "points_per_side=6", *settings)
    arguments = [part for value in values for part in ("--set", value)]
    done = ovbench(*RUN, *arguments, "--limit", "2", "--output", output, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_references_are_made_once(tmp_path: Path) -> None:
    first, second = run(tmp_path / "first"), run(tmp_path / "second")
    assert first["metrics"] == second["metrics"]
    made = ["10 names, 2 pictures each, 21 references"]
    assert first["run"]["notes"] == made
    # The second finds the proposals of the first, too, and says so.
    *kept, masks = second["run"]["notes"]
    assert kept == made
    assert masks.startswith("masks were read that another run had made")
    assert second["profile"]["prepare_s"] < min(2, first["profile"]["prepare_s"])
    assert set(second["profile"]["stages"]) >= {"region masks", "features", "matching", "paint"}
    assert second["config"]["predicted_iou"] == 0.6
    assert {c["role"] for c in second["checkpoints"]} == {"sam", "dinov2", "stable_diffusion"}


def test_settings_that_do_not_go_together_are_one_line(tmp_path: Path) -> None:
    values = ("--set", "matching=text", "--set", "proposals=none")
    done = ovbench(*RUN, *values, "-o", tmp_path / "run")
    assert done.returncode == 2
    assert "matching=text looks at crops of proposals" in done.stderr
    assert "Traceback" not in done.stderr
