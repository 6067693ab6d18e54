from __future__ import annotations

import copy
import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from results import result, several

from ovbench.errors import UsageError
from ovbench.harness.json_files import sealed
from ovbench.leaderboards.marks import marks
from ovbench.leaderboards.publish import publish
from ovbench.leaderboards.table import boards, find_results, of_datasets
from ovbench.leaderboards.update import put_between_markers

GOLDEN = Path(__file__).parent / "golden"


SUFFIX = {"markdown": "md", "html": "html", "latex": "tex", "csv": "csv", "json": "json"}


@pytest.mark.parametrize("format", SUFFIX)
def test_every_format_is_stable_to_the_byte(format: str) -> None:
    text = publish(several(), format)
    assert text == (GOLDEN / f"leaderboard.{SUFFIX[format]}").read_text(encoding="utf-8")
    assert publish(several()[::-1], format) == text


def test_only_comparable_runs_are_ranked_together() -> None:
    ranked = [[row["run"]["method"] for row in board.rows] for board in boards(several())]
    assert ["best", "tuned", "partial", "slow|one", "broken"] in ranked
    assert sorted(map(len, ranked)) == [1, 1, 1, 1, 2, 5]


def test_runs_that_were_shown_other_pictures_are_not_ranked_together() -> None:
    def shown(method: str, digest: str) -> dict:
        prompts = {"source": "train", "shots": 2, "pictures": {}, "sha256": digest * 64}
        return {**result(method, 1.0), "prompts": prompts}

    older = result("d", 1.0)
    newer = {**result("e", 1.0), "prompts": None}
    found = boards([shown("a", "1"), shown("b", "1"), shown("c", "2"), older, newer])
    titles = {tuple(row["run"]["method"] for row in board.rows): board.title for board in found}
    assert set(titles) == {("a", "b"), ("c",), ("d", "e")}
    assert titles["a", "b"].endswith(", prompts train x2 (11111111)")
    assert "prompts" not in titles["d", "e"]


def test_a_run_given_twice_counts_once() -> None:
    (board,) = boards([result("a", 1.0), copy.deepcopy(result("a", 1.0))])
    assert len(board.rows) == 1


def test_marks() -> None:
    told = result("m", 1.0, classes="oracle", checkpoints="toy", limit=3, num_images=3,
                  complete=False, warnings=["odd count"])  # fmt: skip
    found = marks(told)
    assert [m.split(":")[0] for m in found] == [
        "class oracle", "toy weights", "only the first 3 images", "incomplete", "odd count"
    ]  # fmt: skip
    assert marks(result("m", 1.0)) == []


def test_results_are_found_in_runs_folders_and_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(sealed(result(name, 1.0))))
    assert len(find_results([tmp_path])) == 2
    assert len(find_results([tmp_path / "a", tmp_path / "b" / "result.json", tmp_path])) == 2
    with pytest.raises(UsageError, match=r"nowhere: no result\.json"):
        find_results([tmp_path / "nowhere"])
    (tmp_path / "a" / "result.json").write_text("{}")
    with pytest.raises(UsageError, match="not a result"):
        find_results([tmp_path])


def test_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps(sealed(result("a", 12.345))))
    command = [sys.executable, "-m", "ovbench", "leaderboard", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == publish([result("a", 12.345)], "markdown")


def test_a_result_of_another_schema_is_refused(tmp_path: Path) -> None:
    old = {**result("old", 50.0), "schema_version": 1}
    (tmp_path / "result.json").write_text(json.dumps(old))
    with pytest.raises(UsageError, match=r"written with schema 1, .* reads 3; `ovbench rescore"):
        find_results([tmp_path])


def test_a_mark_says_what_is_not_comparable_in_the_overview() -> None:
    section = publish(several(), "markdown").partition("### context")[0]
    notes = dict(re.findall(r"^<sup>(\d+)</sup> (.*?)  $", section, flags=re.M))

    def told(method: str) -> tuple[str, str]:
        line = next(li for li in section.splitlines() if li.startswith(f"| {method}"))
        value, _, numbers = line.removesuffix(" |").split(" | ")[3].partition(" <sup>")
        return value, " + ".join(notes[n] for n in re.findall(r"\d+", numbers))

    assert told("best") == ("**51.23**", "")
    assert told("tuned") == ("<u>50.00</u>", "")
    assert told("renamed") == (
        "65.00",
        "not comparable with the column: "
        "names voc/sclip (bbbbbbbb) instead of voc/plain (aaaaaaaa)",
    )
    assert told("told, class oracle") == (
        "70.00", "not comparable with the column: classes oracle instead of all"
    )  # fmt: skip
    assert told("first")[1].startswith("only the first 10 images + not comparable")
    assert "other images" in told("first")[1]


def test_of_several_runs_the_overview_does_not_take_the_best() -> None:
    worse = {**result("a", 10.0), "run": {**result("a", 10.0)["run"], "id": "z", "seed": 2}}
    other = result("b", 5.0, dataset="context", background="ignore")
    section = publish([result("a", 20.0), worse, other], "markdown").partition("### voc")[0]
    assert "10.00 <sup>" in section
    assert "20.00" not in section
    assert "one of 2 runs" in section


def test_csv_and_json_tell_the_same() -> None:
    lines = list(csv.DictReader(io.StringIO(publish(several(), "csv"))))
    rows = [
        {**board["conditions"], **row}
        for board in json.loads(publish(several(), "json"))["boards"]
        for row in board["rows"]
    ]
    for line, row in zip(lines, rows, strict=True):
        row["marks"] = "; ".join(row["marks"])
        assert line == {k: "" if v is None else str(v) for k, v in row.items()}


def test_a_delta_to_the_paper_names_its_figure() -> None:
    text = publish(several(), "markdown")
    row = next(li for li in text.splitlines() if "`pnp-context`" in li)
    assert "| −0.3 <sup>1</sup> |" in row
    assert "<sup>1</sup> against 42.8 on Context59, Luo et al., CVPR 2024, table 3" in text


def test_reported_figures_stand_beside_and_are_not_ranked() -> None:
    text = publish(several(), "markdown", with_reported=True)
    section = text.partition("### context val")[2].partition("###")[0]
    rows = [li.split(" | ") for li in section.splitlines() if li.startswith("| ")]
    reported = [row for row in rows if row[-1] == "reported |"]
    assert len(reported) == 38  # as many figures as papers print for Context59
    assert {row[0] for row in reported} == {"| "}
    assert not any("**" in cell for row in reported for cell in row)
    toy = text.partition("### toyworld val")[2].partition("### voc")[0]
    assert "reported" not in toy


def test_only_some_datasets() -> None:
    assert {r["run"]["dataset"] for r in of_datasets(several(), ["context"])} == {"context"}
    with pytest.raises(UsageError, match="cocostuff: no result of it; there are context, toyworld"):
        of_datasets(several(), ["cocostuff"])


def test_latex_compiles_no_special_character_by_accident() -> None:
    odd = result("a_b", 1.0, changes={"x": "50% & #1 {~^\\}"})
    line = next(li for li in publish([odd], "latex").splitlines() if li.startswith("1 &"))
    assert r"a\_b (x=50\% \& \#1 \{\textasciitilde{}\textasciicircum{}\textbackslash{}\})" in line


def test_html_escapes() -> None:
    text = publish([result("<b>&", 1.0)], "html")
    assert "<td>&lt;b&gt;&amp;</td>" in text
    assert "<b>" not in text.partition("<body>")[2]


def test_a_document_is_updated_between_its_markers(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps(sealed(result("a", 12.345))))
    page = tmp_path / "page.md"
    page.write_text("# Mine\n\n<!-- leaderboard -->\nold\n<!-- /leaderboard -->\n\nrest\n")
    command = [sys.executable, "-m", "ovbench", "leaderboard", str(tmp_path), "--update", str(page)]
    for answer in ("updated", "up to date"):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == f"{page}: {answer}\n"
    table = publish([result("a", 12.345)], "markdown").strip()
    assert page.read_text() == (
        f"# Mine\n\n<!-- leaderboard -->\n\n{table}\n\n<!-- /leaderboard -->\n\nrest\n"
    )
    for broken in ("no markers", "<!-- /leaderboard --> <!-- leaderboard -->", ""):
        page.write_text(broken)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "put one line <!-- leaderboard -->" in done.stderr
        assert page.read_text() == broken


def test_the_published_table_is_made_from_the_published_results(tmp_path: Path) -> None:
    published = Path(__file__).parents[2] / "leaderboards"
    copy_of_it = tmp_path / "toyworld.md"
    copy_of_it.write_bytes((published / "toyworld.md").read_bytes())
    results = find_results([published / "toyworld"])
    assert not put_between_markers(copy_of_it, publish(results, "markdown"))
    assert all(r["run"]["limit"] == 100 and r["run"]["complete"] for r in results)


@pytest.mark.parametrize(
    "arguments",
    [[], ["x", "--reported"], ["x", "--update", "y", "-f", "csv"], ["--reported", "-d", "voc"]],
)
def test_contradicting_options_are_one_line(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "ovbench", "leaderboard", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
