"""How far a run is, from what it has written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ovbench.errors import UsageError
from ovbench.harness.files.json_files import sealed, write_json
from ovbench.harness.run.standing import QUIET_S, Standing, standing

BEGAN = 1_600_000_000.0
HEADER = '{{"session":{{"started":"2020-09-13T12:26:{}+00:00","world_size":{}}},"crc":"0"}}\n'


def run_of(folder: Path, total: int) -> Path:
    identity = {"method": {"name": "m"}, "dataset": {"name": "d", "num_images": total}}
    (folder / "records").mkdir(parents=True)
    write_json(folder / "run.json", sealed({"schema_version": 3, "identity": identity}))
    os.utime(folder / "run.json", (BEGAN, BEGAN))
    return folder


def wrote(
    folder: Path, rank: int, images: range, took_s: float, world: int = 1, later_s: int = 0
) -> None:
    """A process begins, and records images; a torn line is what it writes at this moment."""
    shard = folder / "records" / f"rank-{rank}.jsonl"
    lines = [json.dumps({"image": f"im {i}"}, separators=(",", ":")) + "\n" for i in images]
    with shard.open("a") as file:
        file.write(
            HEADER.format(40 + later_s, world)
            + "".join(line.replace("}", ',"x":1}') for line in lines)
        )
        file.write('{"image":"torn')
    os.utime(shard, (BEGAN + took_s, BEGAN + took_s))


def test_a_run_goes_from_nothing_to_its_end(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run here"):
        standing(tmp_path)
    run = run_of(tmp_path, 40)
    found = standing(run)
    assert (found.images, found.total, found.left_s) == (0, 40, None)
    assert found.state(BEGAN + 1e6) == "preparing"

    wrote(run, 0, range(10), 20.0)
    found = standing(run)
    assert (found.images, found.left_s, found.slow) == (10, 60.0, None)
    assert found.state(BEGAN + 20 + QUIET_S - 1) == "measuring"
    assert found.state(BEGAN + 20 + QUIET_S + 1) == "stopped"

    write_json(run / "result.json", sealed({"schema_version": 3, "metrics": {"miou": 12.5}}))
    found = standing(run)
    assert (found.state(BEGAN), found.miou, found.left_s) == ("done", 12.5, 0.0)


@pytest.mark.parametrize("content", ["{}", '{"schema_version": 3, "metrics": {"miou": "x"}}', "["])
def test_a_result_that_was_damaged_or_edited_finishes_no_run(tmp_path: Path, content: str) -> None:
    run = run_of(tmp_path, 1)
    wrote(run, 0, range(1), 1.0)
    (run / "result.json").write_text(content)
    found = standing(run)
    assert (found.state(BEGAN), found.miou) == ("measuring", None)


def test_a_result_of_an_older_version_finishes_its_run(tmp_path: Path) -> None:
    run = run_of(tmp_path, 1)
    (run / "result.json").write_text('{"schema_version": 2, "metrics": {"miou": 12.5}}')
    assert standing(run).miou == 12.5


def test_what_the_slowest_rank_has_left_is_what_the_run_has_left(tmp_path: Path) -> None:
    run = run_of(tmp_path, 100)
    for rank, images in enumerate((range(20), range(20, 40), range(40, 44), range(44, 60))):
        wrote(run, rank, images, 40.0, 4)
    found = standing(run)
    assert found.images == 60
    assert found.slow is not None
    assert (found.slow.rank, found.slow.pace_s) == (2, 10.0)
    assert found.left_s == (25 - 4) * 10.0


def test_who_resumes_counts_from_there_and_no_image_twice(tmp_path: Path) -> None:
    run = run_of(tmp_path, 30)
    for rank in (0, 1):
        wrote(run, rank, range(rank * 5, rank * 5 + 5), 5.0, 2)
    shard = run / "records" / "rank-0.jsonl"
    shard.write_bytes(shard.read_bytes().rpartition(b"\n")[0] + b"\n")  # as its next writer does
    wrote(run, 0, range(8, 14), 18.0, later_s=6)
    found = standing(run)
    assert found.images == 14
    assert [(rank.rank, rank.images) for rank in found.ranks] == [(0, 6)]
    assert found.left_s == (22 - 6) * 2.0


def test_a_method_that_takes_long_is_not_taken_for_stopped(tmp_path: Path) -> None:
    run = run_of(tmp_path, 30)
    wrote(run, 0, range(2), 600.0)
    found: Standing = standing(run)
    assert found.state(BEGAN + 600 + 10 * 300 - 1) == "measuring"
    assert found.state(BEGAN + 600 + 10 * 300 + 1) == "stopped"


def test_a_process_that_takes_smaller_portions_is_the_same_one(tmp_path: Path) -> None:
    run = run_of(tmp_path, 30)
    wrote(run, 0, range(4), 8.0)
    shard = run / "records" / "rank-0.jsonl"
    shard.write_bytes(shard.read_bytes().rpartition(b"\n")[0] + b"\n")
    wrote(run, 0, range(4, 6), 12.0)
    (rank,) = standing(run).ranks
    assert (rank.images, rank.pace_s) == (6, 2.0)
