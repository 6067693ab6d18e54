"""``ovbench run --classes predicted``, through the whole command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from in_process import ovbench

RUN = ("run", "--method", "maskclip", "--dataset", "toyworld", "--device", "cpu", "--limit", "4")


def result_in(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "result.json").read_text()))


OPTIONS = ["--classes", "predicted", "--filter-set", "rule=average", "--filter-set", "most=2"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run, and what it printed, unwrapped."""
    path = tmp_path_factory.mktemp("whole")
    done = ovbench(*RUN, *OPTIONS, "--output", path)
    assert done.returncode == 0, done.stderr
    return path, " ".join(done.stdout.split())


def test_the_result_holds_the_filter(whole: tuple[Path, str]) -> None:
    result = result_in(whole[0])
    assert result["run"]["classes"] == "predicted"
    used = result["filter"]
    assert used["name"] == "clip"
    assert (used["settings"]["rule"], used["settings"]["most"]) == ("average", 2)
    assert used["settings"]["architecture"] == "ViT-L-14-336"
    assert [record["role"] for record in used["checkpoints"]] == ["clip"]
    assert result["profile"]["stages"]["filter"]["mean_s"] > 0


def test_every_table_says_so(whole: tuple[Path, str]) -> None:
    path, printed = whole
    assert "predicted classes: clip (" in printed
    assert "the filter clip chose each image's classes" in printed
    board = ovbench("leaderboard", path)
    assert board.returncode == 0, board.stderr
    assert "predicted classes: clip (" in board.stdout


def test_a_run_cut_short_is_finished_with_the_same_numbers(
    tmp_path: Path, whole: tuple[Path, str]
) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "run.json").write_bytes((whole[0] / "run.json").read_bytes())
    lines = (whole[0] / "records" / "rank-0.jsonl").read_bytes().splitlines(keepends=True)
    shard = tmp_path / "records" / "rank-0.jsonl"
    shard.write_bytes(b"".join(lines[:3]))  # the session and two images
    done = ovbench(*RUN, *OPTIONS, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 of 4 images to do" in done.stderr
    first, second = result_in(whole[0]), result_in(tmp_path)
    assert first["metrics"] == second["metrics"]
    assert first["per_class"] == second["per_class"]
    assert first["run"]["id"] == second["run"]["id"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--filter-set", "most=2"], "--filter-set goes with --classes predicted only"),
        (["--classes", "oracle", "--filter-set", "most=2"], "goes with --classes predicted only"),
        (["--classes", "predicted", "--filter-set", "most"], "--filter-set most: write it as"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = ovbench(*RUN, *arguments, "--output", tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line
