"""What benchmarks answer with, and the page of what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks import overhead, page, pnp_ovss, processes, records
from benchmarks.comparison import ROOT, Row, cells, in_turn


def run_of(at: str, quiet: bool | None, ratio: float) -> dict[str, Any]:
    row = Row("counting", "theirs", "ms", 1.0, ratio, ratio)
    return {
        "benchmark": "records", "at": at, "machine": "2 cores", "quiet": quiet, "versions": {},
        "commit": None, "edited": None, "rows": [page.content_of(row)],
    }  # fmt: skip


def test_the_page_is_written_from_what_was_measured() -> None:
    """`python -m benchmarks --page` writes it."""
    assert page.PAGE.read_text(encoding="utf-8") == page.page(page.runs())


def test_every_comparison_is_run_and_shown() -> None:
    scripts = {
        path.stem
        for path in (ROOT / "benchmarks").glob("*.py")
        if "Iterator[Row]" in path.read_text(encoding="utf-8")
    }
    assert set(command.BENCHMARKS) == scripts
    template = page.TEMPLATE.read_text(encoding="utf-8")
    for name in scripts:
        assert f"{{{{ {name} }}}}" in template
        assert f"benchmarks.{name}" in template


def test_a_busy_machines_figures_stand_only_where_there_are_no_others() -> None:
    busy, quiet = run_of("2026-01-03", False, 1.0), run_of("2026-01-02", True, 2.0)
    carried = run_of("", None, 3.0)
    assert "| 3 |" in page.page([carried, busy])
    assert "on 2 cores:" in page.page([carried, busy])
    assert "| 2 |" in page.page([carried, quiet, busy])
    assert "2026-01-02, on 2 cores, which did nothing else" in page.page([carried, quiet, busy])
    assert "which others used, too" in page.page([busy])


def test_a_row_knows_how_far_its_ratio_varied() -> None:
    row = Row.of("counting", "theirs", "ms", [1.0, 2.0, 4.0], [4.0, 4.0, 4.0])
    assert (row.ours, row.theirs, row.ratio, row.spread) == (2, 4, 2, (1, 4))
    assert cells(row) == ("counting", "theirs", "2 ms", "4 ms", "2", "1–4", "")
    assert page.row_of(json.loads(json.dumps(page.content_of(row)))) == row
    alone = Row.of("counting", "theirs", "MiB", [1200.0], [600.0])
    assert cells(alone) == ("counting", "theirs", "1,200 MiB", "600 MiB", "0.5", "", "")


def test_contestants_take_turns_behind_a_first_one() -> None:
    calls: list[str] = []
    clock = iter(range(100))
    spent = in_turn(
        {name: lambda n=name: calls.append(n) for name in "ab"},  # type: ignore[misc]
        2,
        clock=lambda: float(next(clock)),
        per_second=10,
    )
    assert calls == list("ababab")
    assert spent == {"a": [10, 10], "b": [10, 10]}


def test_a_benchmark_gives_rows() -> None:
    write, read = records.rows(images=10)
    assert (write.against, write.unit) == ("plain JSON", "µs")
    assert read.ours is not None
    assert read.theirs is not None
    assert read.ratio == read.theirs / read.ours


def test_a_run_is_compared_with_bare_loops(tmp_path: Path) -> None:
    dataset = overhead.opened(tmp_path, (60, 80), 21, 2 + overhead.LEFT_OUT)
    model = overhead.Model(21, waits=False)
    answer = model.segment([dataset.load(0).image])[0]
    assert (answer.shape, answer.dtype) == ((60, 80), "uint8")
    found = list(overhead.compared("VOC", dataset, model, 1))
    assert [row.against for row in found[:3]] == [
        "a loop that reads", "a loop that reads ahead", "the model alone",
    ]  # fmt: skip
    assert "main thread" in found[0].note
    assert all(row.ours and row.theirs and row.ours > 0 for row in found)


def test_two_processes_are_compared_while_both_are_at_work() -> None:
    """One begins late and ends early; alone either takes 100 ms an image."""
    first = [[10 + 0.1 * n, 0.08 * n] for n in range(60)]
    second = [[12 + 0.1 * n, 0.08 * n] for n in range(20)]
    both = processes.of_processes([first, second], begin=9.0, took=8.0, images=80)
    assert both.each == pytest.approx(50)
    assert (both.main, both.whole, both.start) == pytest.approx((80, 100, 3))
    alone = processes.of_processes([first], begin=9.0, took=8.0, images=60)
    assert alone.each == pytest.approx(100)


def test_contestants_get_their_images_in_batches() -> None:
    sizes: list[int] = []

    def segment(images: Any) -> Any:
        sizes.append(len(images))
        return images

    images: list[Any] = [pnp_ovss.made(number)[:2, :2] for number in range(5)]
    found = pnp_ovss.answers(segment, images, 2)
    assert sizes == [2, 2, 1]
    assert pnp_ovss.agreement(found, images) == 1


def test_what_was_measured_is_added_and_what_fails_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = run_of("", None, 2.0)["rows"]

    def fake(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        failed = words[-1] == "confusion"
        return subprocess.CompletedProcess(words, int(failed), f"noise\n{json.dumps(rows)}\n")

    monkeypatch.setattr(command, "environment", lambda _: {
        "cpu": "CPU", "cpu_cores": 2, "python": "3", "git_commit": "ab", "git_dirty": False,
    })  # fmt: skip
    monkeypatch.setattr(command.subprocess, "run", fake)
    monkeypatch.setattr(command, "MEASURED", tmp_path / "measured.jsonl")
    monkeypatch.setattr(command, "PAGE", tmp_path / "README.md")
    monkeypatch.setattr(sys, "argv", ["benchmarks", "records", "confusion"])
    assert command.main() == 1
    assert "not measured: confusion" in capsys.readouterr().err
    (found,) = page.runs(tmp_path / "measured.jsonl")
    assert (found["benchmark"], found["rows"], found["commit"]) == ("records", rows, "ab")
    assert "| counting | theirs |" in (tmp_path / "README.md").read_text()
    monkeypatch.setattr(sys, "argv", ["benchmarks", "nothing"])
    with pytest.raises(SystemExit):
        command.main()
