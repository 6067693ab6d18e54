"""The pages of what is reported, and the committed ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from in_process import ovbench

from ovbench.leaderboards.formats.reported_markdown import INDEX, page_names, reported_page
from ovbench.leaderboards.reported.benchmarks import benchmarks
from ovbench.leaderboards.reported.evidence import repeated
from ovbench.leaderboards.reported.published import figures, sources

FOLDER = Path(__file__).resolve().parents[2] / "leaderboards" / "reported"
PAGES = [INDEX, *page_names()]


def sections(page: str) -> dict[str, str]:
    """By their headings; the tables' rows only hold what is no head of a table."""
    return {part.partition("\n")[0]: part for part in page.split("\n## ")[1:]}


def rows(section: str) -> list[list[str]]:
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in lines[2:]]


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_page_is_the_generated_one(name: str) -> None:
    assert (FOLDER / f"{name}.md").read_text(encoding="utf-8") == reported_page(name)


def test_no_other_page_is_committed() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.md" for name in PAGES}


def test_every_figure_has_its_row_or_is_named_in_its_origins() -> None:
    shown = 0
    for name in page_names():
        for heading, section in sections(reported_page(name)).items():
            if heading == "Conditions":
                continue
            dataset, _, metric = heading.rpartition(", ")
            begins = "IoU of " if metric == "IoU of classes" else metric
            own = [f for f in figures() if f.dataset == dataset and f.metric.startswith(begins)]
            table = rows(section)
            assert len(table) == sum(f not in repeated() for f in own)
            assert sum("repeated by" in row[-1] for row in table) == len(
                {repeated()[f] for f in own if f in repeated()}
            )
            values = [float(row[0].partition(" ±")[0]) for row in table]
            assert values == sorted(values, reverse=True)
            rule = benchmarks()[dataset]
            assert ("Not measured here: " if rule.outside else ": **") in section
            shown += len(own)
    assert shown == len(figures())


def test_the_background_rule_stands_at_its_table() -> None:
    page = sections(reported_page("voc"))
    assert "`voc`, split `val`: **background is ignored**." in page["VOC20, mIoU"]
    assert "`voc`, split `val`: **background is a class**." in page["VOC, mIoU"]
    assert "subset `unseen5`: **background is ignored**" in page["VOC (5 unseen), mIoU"]
    assert "Not measured here: background is scored as one more class" in page["VOC20b, mIoU"]


@pytest.mark.parametrize("name", page_names())
def test_every_footnote_link_and_condition_is_referred_to(name: str) -> None:
    page = reported_page(name)
    notes = re.findall(r"^<sup>(\d+)</sup> ", page, re.MULTILINE)
    assert notes == [str(n) for n in range(1, len(notes) + 1)]
    marks = {n for found in re.findall(r" <sup>([\d,]+)</sup> \|", page) for n in found.split(",")}
    assert marks == set(notes)
    links = dict(re.findall(r"^\[(\w+)\]: (\S+)$", page, re.MULTILINE))
    assert set(re.findall(r"\]\[(\w+)\]", page)) == set(links)
    assert all(sources()[key].link == link for key, link in links.items())
    found = sections(page)
    legend = [row[0] for row in rows(found.pop("Conditions", ""))]
    used = {word for part in found.values() for row in rows(part) for word in row[3].split(", ")}
    assert used - {""} == set(legend)


def test_the_command_prints_all_or_one(tmp_path: Path) -> None:
    everything = ovbench("leaderboard", "--reported")
    assert everything.stdout == "\n".join(map(reported_page, PAGES))
    assert ovbench("leaderboard", "--reported", "-d", "voc").stdout == reported_page("voc")
    made = tmp_path / "new" / "pages"
    done = ovbench("leaderboard", "--reported", "--output", made)
    assert (done.returncode, done.stdout) == (0, f"{made}\n")
    for name in PAGES:
        assert (made / f"{name}.md").read_text(encoding="utf-8") == reported_page(name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either run directories or --reported"),
        (["runs", "--reported"], "give either run directories or --reported"),
        (["--reported", "-d", "vocc"], "vocc: nothing is reported on it; there are voc, context"),
        (["--reported", "--sort", "run"], "--reported: what is printed has no columns"),
        (["--reported", "-f", "latex"], "--format latex: --reported is markdown, csv, json"),
    ],
)
def test_contradicting_options_are_one_line(arguments: list[str], message: str) -> None:
    done = ovbench("leaderboard", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1


def test_a_file_where_the_folder_should_be_is_said(tmp_path: Path) -> None:
    file = tmp_path / "pages"
    file.touch()
    done = ovbench("leaderboard", "--reported", "-o", file)
    assert done.returncode == 2
    assert done.stderr == f"error: {file}: is no folder, so nothing can be written in it\n"
