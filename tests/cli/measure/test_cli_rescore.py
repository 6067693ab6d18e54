"""``ovbench rescore``, and what other commands say where it is due."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from in_process import ovbench

RUN = ("run", "-m", "random", "-d", "toyworld", "--limit", "4")


def measure(output: Path) -> Any:
    done = ovbench(*RUN, "--output", output)
    assert done.returncode == 0, done.stderr
    return numbers(output)


def numbers(run: Path) -> Any:
    result = json.loads((run / "result.json").read_text())
    return result["metrics"], result["per_class"]


def advised(line: str) -> list[str]:
    """The arguments of the command that an error names."""
    found = re.search(r"`ovbench ([^`]+)`", line)
    assert found, line
    return shlex.split(found[1])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "a run"
    measure(path)
    return path


def aged(run: Path) -> None:
    """Make a run one of schema 2."""
    shard, about, file = run / "records" / "rank-0.jsonl", run / "run.json", run / "result.json"
    lines = [json.loads(line) for line in shard.read_text().splitlines()]
    old = [{k: v for k, v in line.items() if k not in ("crc", "size")} for line in lines]
    shard.write_text("".join(json.dumps(line) + "\n" for line in old))
    about.write_text(json.dumps({"identity": json.loads(about.read_text())["identity"]}))
    result = {**json.loads(file.read_text()), "schema_version": 2}
    del result["sha256"]
    file.write_text(json.dumps(result))


def test_a_result_is_computed_again_to_the_byte(run: Path) -> None:
    file = run / "result.json"
    before = file.read_bytes()
    file.unlink()
    done = ovbench("rescore", run)
    assert done.returncode == 0, done.stderr
    assert file.read_bytes() == before
    miou = json.loads(before)["metrics"]["miou"]
    assert done.stdout == f"{file}: mIoU {miou:.2f}\n"


@pytest.mark.parametrize("place", [0, 1, 4], ids=["the session", "an image", "the last image"])
def test_the_advice_mends_a_damaged_shard(run: Path, place: int) -> None:
    before = numbers(run)
    shard = run / "records" / "rank-0.jsonl"
    lines = shard.read_bytes().splitlines(keepends=True)
    bad = lines[place][:9] + b"\xff" + lines[place][9:]
    shard.write_bytes(b"".join([*lines[:place], bad, *lines[place + 1 :]]))
    stopped = ovbench(*RUN, "--output", run)
    assert stopped.returncode == 2
    assert f"rank-0.jsonl:{place + 1}: not as it was written here" in stopped.stderr
    mended = ovbench(*advised(stopped.stderr))
    assert mended.stdout.startswith(f"dropped {shard}:{place + 1}: ")
    assert (run / "records" / "dropped.jsonl").read_bytes() == bad
    assert (mended.returncode, mended.stderr) == (0, "")
    if place:
        assert "1 of 4 images have no record" in mended.stdout
        again = ovbench(*advised(mended.stdout))
        assert again.returncode == 0, again.stderr
        assert numbers(run) == before
    assert measure(run) == before
    assert ovbench("rescore", run).returncode == 0


def test_what_is_old_or_broken_is_in_nobodys_way(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    before = [measure(runs / name) for name in "abc"]
    aged(runs / "a")
    edited = runs / "b" / "result.json"
    edited.write_text(edited.read_text().replace('"miou": ', '"miou": 9'))
    shard = runs / "c" / "records" / "rank-0.jsonl"
    shard.write_bytes(b"".join(shard.read_bytes().splitlines(keepends=True)[:3]))
    (runs / "c" / "result.json").unlink()  # a run that was killed
    commands: list[tuple[object, ...]] = [
        ("leaderboard", runs),
        ("regress", "--paper", runs),
        ("regress", "--expected", tmp_path / "pins", "--pin", runs),
        ("export", "--to", "tensorboard", runs),
        ("report", runs / "a", "--no-pictures", "-o", tmp_path / "report.html"),
    ]
    for command in commands:
        stopped = ovbench(*command)
        assert stopped.returncode == 2, stopped.stderr
        assert re.match(r"error: .*a/result\.json: written with schema 2, .*\n$", stopped.stderr)
    mended = ovbench(*advised(stopped.stderr))
    assert mended.returncode == 0, mended.stderr
    stopped = ovbench("leaderboard", runs)
    assert re.match(r"error: .*b/result\.json: not as it was written, .*\n$", stopped.stderr)
    everything = ovbench("rescore", runs)
    assert everything.returncode == 2
    assert "2 of 4 images have no record" in everything.stderr
    assert everything.stdout.count("result.json: mIoU") == 2
    assert ovbench("leaderboard", runs).returncode == 0
    assert [numbers(runs / name) for name in "ab"] == before[:2]
    assert ovbench("compare", runs / "a", runs / "b").returncode == 0


@pytest.mark.parametrize("there", ["a run that is not finished", "no run"])
def test_whatever_reads_a_run_that_is_not_there_in_full_ends_alike(
    there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    if there != "no run":
        measure(run)
        shard = run / "records" / "rank-0.jsonl"
        shard.write_bytes(b"".join(shard.read_bytes().splitlines(keepends=True)[:2]))
        (run / "result.json").unlink()
    commands: list[tuple[object, ...]] = [
        ("rescore", run),
        ("leaderboard", run),
        ("compare", run, run),
        ("report", run),
        ("regress", "--paper", run),
        ("export", "--to", "tensorboard", run),
    ]
    for command in commands:
        stopped = ovbench(*command)
        assert (stopped.returncode, stopped.stdout) == (2, ""), command
        assert re.fullmatch(r"error: .*\n", stopped.stderr), command


@pytest.mark.parametrize(
    "arguments",
    [
        ("rescore", "{long}"),
        ("leaderboard", "{long}"),
        ("report", "{long}"),
        ("compare", "{long}", "{long}"),
        ("regress", "--paper", "{long}"),
        ("regress", "--expected", "{long}", "{run}"),
        ("regress", "--expected", "{long}", "--pin", "{run}"),
        ("leaderboard", "{run}", "--update", "{long}"),
        ("report", "{run}", "--no-pictures", "-o", "{long}"),
        ("export", "--to", "tensorboard", "--logdir", "{long}", "{run}"),
        (*RUN, "--output", "{long}"),
        (*RUN, "--settings", "{long}"),
        (*RUN, "--names", "{long}"),
        (*RUN, "--prompts", "{long}"),
        ("run", "-m", "random", "-d", "folder", "--root", "{long}"),
        ("run", "-m", "random", "-d", "voc", "--root", "{long}"),
        ("score", "{long}", "-d", "toyworld"),
        ("explain", "{long}", "image", "--at", "1,1"),
        ("segment", "-m", "constant", "--names", "cat", "{long}"),
        ("datasets", "prepare", "voc", "--root", "{long}"),
        ("datasets", "verify", "voc", "--root", "{long}"),
        (*RUN, "--seeds", "1,2", "--output", "{long}"),
        ("profile", "random", "-d", "toyworld", "--limit", "1", "-o", "{long}"),
        ("profile", "random", "-d", "toyworld", "--limit", "1", "--plot", "{long}.png"),
    ],
    ids=lambda arguments: " ".join(arguments[:3]),
)
def test_a_name_that_no_file_can_have_is_one_line(
    run: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    long = tmp_path / ("x" * 300)
    done = ovbench(*(one.format(long=long, run=run) for one in arguments))
    assert done.returncode == 2
    assert re.fullmatch(r"error: [^\n]*x{300}[^\n]*\n", done.stderr.splitlines(True)[-1])
