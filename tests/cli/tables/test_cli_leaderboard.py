"""``ovbench leaderboard`` as a user types it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from in_process import ovbench
from results import result

from ovbench.harness.files.json_files import sealed
from ovbench.leaderboards.formats.publish import publish
from ovbench.leaderboards.reported.published import figures
from ovbench.leaderboards.tables.fields import View


def test_the_options_reach_the_table(tmp_path: Path) -> None:
    results = [result("a", 12.345), result("b", 20.0, dataset="mine", id="b")]
    for one in results:
        (tmp_path / one["run"]["id"]).mkdir()
        path = tmp_path / one["run"]["id"] / "result.json"
        path.write_text(json.dumps(sealed(one)))
    page = tmp_path / "page.html"
    words = ["--metric", "gt_only", "--columns", "run, paper", "--sort", "run", "--average"]
    done = ovbench("leaderboard", tmp_path, "-f", "html", "-o", page, *words)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{page}\n")
    view = View("gt_only", ("run", "paper"), "run", average=True)
    assert page.read_text() == publish(results, "html", view)
    done = ovbench("leaderboard", tmp_path, "--with-reported", "-d", "mine")
    assert done.stderr == (
        "--with-reported adds nothing: no paper here has figures for these runs on mine\n"
    )
    assert ovbench("leaderboard", tmp_path, "--with-reported").stderr == ""


def test_only_what_was_trained_with_some_labels(tmp_path: Path) -> None:
    masked = {**result("m", 20.0), "trained": {"data": {"COCO": "masks"}, "unknown": []}}
    for one in (result("old", 12.345), masked):
        (tmp_path / one["run"]["id"]).mkdir()
        path = tmp_path / one["run"]["id"] / "result.json"
        path.write_text(json.dumps(sealed(one)))
    done = ovbench("leaderboard", tmp_path, "--supervision", "masks,boxes")
    assert done.stdout == publish([masked], "markdown")
    done = ovbench("leaderboard", tmp_path, "--by-supervision")
    view = View(by_supervision=True)
    assert done.stdout == publish([result("old", 12.345), masked], "markdown", view)
    done = ovbench("leaderboard", tmp_path, "--by-supervision", "-f", "csv")
    assert done.returncode == 2
    assert "csv has every column" in done.stderr


def test_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps(sealed(result("a", 12.345))))
    command = ["leaderboard", str(tmp_path)]
    done = ovbench(*command)
    assert done.stdout == publish([result("a", 12.345)], "markdown")


def test_a_document_is_updated_between_its_markers(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps(sealed(result("a", 12.345))))
    page = tmp_path / "page.md"
    page.write_text("# Mine\n\n<!-- leaderboard -->\nold\n<!-- /leaderboard -->\n\nrest\n")
    command = ["leaderboard", str(tmp_path), "--update", str(page)]
    for answer in ("updated", "up to date"):
        done = ovbench(*command)
        assert done.stdout == f"{page}: {answer}\n"
    table = publish([result("a", 12.345)], "markdown").strip()
    assert page.read_text() == (
        f"# Mine\n\n<!-- leaderboard -->\n\n{table}\n\n<!-- /leaderboard -->\n\nrest\n"
    )
    for broken in ("no markers", "<!-- /leaderboard --> <!-- leaderboard -->", ""):
        page.write_text(broken)
        done = ovbench(*command)
        assert done.returncode == 2
        assert "put one line <!-- leaderboard -->" in done.stderr
        assert page.read_text() == broken


def test_papers_names_of_a_benchmark_are_known(tmp_path: Path) -> None:
    assert ovbench("leaderboard", "--reported", "-d", "voc20").stdout.startswith("# Reported: voc")
    for rule in ("ignore", "class"):
        one = result("a", 12.3, dataset="voc", background=rule, id=f"voc-{rule}")
        (tmp_path / rule).mkdir()
        (tmp_path / rule / "result.json").write_text(json.dumps(sealed(one)))
    done = ovbench("leaderboard", tmp_path, "-d", "voc20", "-f", "json")
    assert "voc-ignore" in done.stdout
    assert "voc-class" not in done.stdout
    assert "context59: no result" in ovbench("leaderboard", tmp_path, "-d", "context59").stderr


def test_what_is_reported_is_there_for_programs(tmp_path: Path) -> None:
    every = json.loads(ovbench("leaderboard", "--reported", "-f", "json").stdout)["reported"]
    assert len(every) == len(figures())
    words = ("--reported", "-d", "voc20, context", "-f", "json")
    two = json.loads(ovbench("leaderboard", *words).stdout)
    assert {line["page"] for line in two["reported"]} == {"voc", "context"}
    table = ovbench("leaderboard", "--reported", "-d", "voc", "-d", "context", "-f", "csv").stdout
    lines = list(csv.DictReader(table.splitlines()))
    assert [float(line["value"]) for line in lines] == [one["value"] for one in two["reported"]]
    assert {line["here_background"] for line in lines} >= {"class", "ignore"}
    done = ovbench("leaderboard", "--reported", "-f", "csv", "-o", tmp_path / "all.csv")
    assert done.returncode == 0
    assert len((tmp_path / "all.csv").read_text().splitlines()) == len(every) + 1


def test_several_datasets_may_stand_in_one_word() -> None:
    pages = [ovbench("leaderboard", "--reported", "-d", name).stdout for name in ("voc", "ade20k")]
    assert ovbench("leaderboard", "--reported", "-d", "voc,ade20k").stdout == "\n".join(pages)
    done = ovbench("leaderboard", "--reported", "-d", "voc,voz")
    assert (done.returncode, done.stdout) == (2, "")
    assert "voz: nothing is reported on it" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--reported", "-f", "html"],
        ["--reported", "-f", "csv", "--average"],
        ["x", "--reported"],
        ["x", "--update", "y", "-f", "csv"],
        ["x", "--update", "y", "-o", "z"],
        ["x", "--average", "-f", "json"],
    ],
)
def test_contradicting_options_are_one_line(arguments: list[str]) -> None:
    done = ovbench("leaderboard", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
