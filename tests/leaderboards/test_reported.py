from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ovbench.leaderboards.formats.reported_markdown import reported_markdown
from ovbench.leaderboards.formats.update import BEGIN, END
from ovbench.leaderboards.reported import published as reported
from ovbench.leaderboards.reported.published import conflicts, figures, papers, systems

REPOSITORY = Path(__file__).resolve().parents[2]


def test_all_figures_are_here() -> None:
    counts = Counter(figure.paper for figure in figures())
    assert counts == {"pnp_ovss": 165, "ovdiff": 84, "rim": 56, "ipseg": 237}
    assert {figure.method for figure in figures()} == set(systems())
    assert {figure.paper for figure in figures()} == set(papers())
    assert all(system.authors and system.venue for system in systems().values())


def test_they_are_those_that_were_read_from_the_papers(sample_data: Path) -> None:
    with (sample_data.parent / "facts" / "paper_numbers.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for figure, row in zip(figures(), rows, strict=True):
        assert figure.value == float(row["value"])
        assert figure.std == (float(row["std"]) if row["std"] else None)
        for name in ("paper", "table", "method", "variant", "setting", "dataset", "metric", "note"):
            assert getattr(figure, name) == row[name]


# Looked up in the papers: the headline row of each.
@pytest.mark.parametrize(
    ("paper", "table", "method", "variant", "setting", "dataset", "value"),
    [
        ("pnp_ovss", "T3", "PnP-OVSS", "BLIP COCO", "768", "VOC20", 55.7),
        ("ovdiff", "T1", "OVDiff", "synthetic support; mean of 5 seeds", "with background",
         "VOC", 66.3),
        ("rim", "T1", "RIM", "training-free", "with background", "VOC", 77.8),
    ],
)  # fmt: skip
def test_headline_figures(
    paper: str, table: str, method: str, variant: str, setting: str, dataset: str, value: float
) -> None:
    (found,) = (
        f
        for f in figures()
        if (f.paper, f.table, f.method, f.variant, f.setting, f.dataset)
        == (paper, table, method, variant, setting, dataset)
    )
    assert found.value == value


def test_conflicts_are_found_by_comparing_every_pair() -> None:
    expected = set()
    for a in figures():
        key = (a.method, a.dataset, a.metric, a.setting)
        alike = [f for f in figures() if (f.method, f.dataset, f.metric, f.setting) == key]
        by_paper = [{f.value for f in alike if f.paper == p} for p in {f.paper for f in alike}]
        if len(by_paper) > 1 and not set.intersection(*by_paper):
            expected.add(key)
    assert set(conflicts()) == expected
    text = conflicts()["ViL-Seg", "VOC", "mIoU", "with background"]
    assert text == "ViL-Seg on VOC is printed differently: Karazija et al. 37.3; Wang et al. 33.6"
    assert ("TCL", "VOC", "mIoU", "with background") not in conflicts()


ROW = {"paper": "rim", "table": "T1", "method": "RIM", "variant": "", "setting": "",
       "dataset": "VOC", "metric": "mIoU", "value": "50.0", "std": "", "note": ""}  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{**ROW, "paper": "x"}], "unknown paper"),
        ([{**ROW, "method": "x"}], "unknown system"),
        ([{**ROW, "value": "100.1"}], "not a percentage"),
        ([{**ROW, "std": "-1"}], "not a percentage"),
        ([{**ROW, "table": ""}], "table, dataset or metric is missing"),
        ([ROW, ROW], "given 2 times"),
        ([{**ROW, "value": "high"}], "could not convert"),
    ],
)
def test_inconsistent_data_are_refused(
    monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, str]], message: str
) -> None:
    papers(), systems()  # read before the figures are replaced
    monkeypatch.setattr(reported, "rows", lambda name: rows)
    with pytest.raises(ValueError, match=message):
        reported.figures.__wrapped__()


def is_row(line: str) -> bool:
    return line.startswith("| ") and ", table " in line


def test_the_committed_table_is_the_generated_one() -> None:
    committed = (REPOSITORY / "leaderboards" / "reported.md").read_text(encoding="utf-8")
    assert committed == f"{BEGIN}\n\n{reported_markdown().strip()}\n\n{END}\n"
    rows = [line for line in committed.splitlines() if is_row(line)]
    assert len(rows) == len(figures()) == 542
    for figure in figures():
        assert f"## {figure.dataset}, {figure.metric}\n" in committed


def test_every_footnote_is_referred_to() -> None:
    for section in reported_markdown().split("\n## ")[1:]:
        notes = [line for line in section.splitlines() if line.startswith("<sup>")]
        rows = [line for line in section.splitlines() if is_row(line)]
        for number, note in enumerate(notes, start=1):
            assert note.startswith(f"<sup>{number}</sup> ")
            marks = [row.split("<sup>")[1].split("</sup>")[0] for row in rows if "<sup>" in row]
            assert any(str(number) in mark.split(",") for mark in marks)


def test_the_command() -> None:
    command = [sys.executable, "-m", "ovbench", "leaderboard"]
    shown = subprocess.run([*command, "--reported"], capture_output=True, text=True, check=True)
    assert shown.stdout == reported_markdown()
    for arguments in ([], ["runs", "--reported"]):
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr == "error: give either run directories or --reported\n"
