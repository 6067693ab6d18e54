"""The site's folder: what is written, kept, removed and refused, and what no text can do to it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from nasty import nasty
from results import several

from ovbench.errors import UsageError
from ovbench.harness.files.json_files import sealed
from ovbench.leaderboards.site.entries import preset_kind, read_entries, slug
from ovbench.leaderboards.site.write import write_site


def written(folder: Path, *runs: Path) -> Path:
    write_site(folder, read_entries(runs), "All runs", lambda _: None)
    return folder


def stored(results: list[dict[str, Any]], folder: Path) -> Path:
    """Results alone, whose records are gone."""
    for place, one in enumerate(results):
        for row in one.setdefault("per_class", []):
            row.setdefault("scored", True)
        path = folder / str(place) / "result.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(sealed(one)))
    return folder


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_every_run_method_and_benchmark_has_a_page(runs: list[Path], tmp_path: Path) -> None:
    site = written(tmp_path / "site", *runs)
    entries = read_entries(runs)
    assert len({entry.key for entry in entries}) == 3
    for entry in entries:
        page = (site / "run" / f"{entry.key}.html").read_text()
        assert 'id="confusions"' in page  # the report's
        assert 'href="../index.html"' in page
        assert (site / "data" / f"{entry.key}.js").read_text().startswith('given("run", {')
    for page in site.rglob("*.html"):
        for link in re.findall(r'(?:href|src)="([^"#:]+)[#"]', page.read_text()):
            assert (page.parent / link).is_file(), (page, link)


def test_given_again_only_what_changed_is_written(runs: list[Path], tmp_path: Path) -> None:
    site = written(tmp_path / "site", *runs)
    before = times(site)
    written(site, *runs)
    changed = {path.name for path, time in times(site).items() if before[path] != time}
    assert changed == {"site.json"}
    one, other, _ = read_entries(runs)
    (site / "run" / f"{one.key}.html").write_text("cut sho")  # another's hand, or a disk's
    written(site, *runs)
    assert "</html>" in (site / "run" / f"{one.key}.html").read_text()
    (site / "run" / "notes.txt").write_text("mine")
    written(site, one.path)
    assert not (site / "run" / f"{other.key}.html").exists()
    assert not (site / "data" / f"{other.key}.js").exists()
    assert (site / "run" / "notes.txt").read_text() == "mine"
    assert other.key not in (site / "index.html").read_text()


def test_a_run_without_records_has_its_result(runs: list[Path], tmp_path: Path) -> None:
    run = runs[0]
    alone = tmp_path / "pooled"
    alone.mkdir()
    shutil.copy(run / "result.json", alone)
    site = written(tmp_path / "site", alone)
    (page,) = (site / "run").iterdir()
    assert "Its records are not here" in page.read_text()
    before = times(site)
    written(site, alone)
    assert sum(before[path] != time for path, time in times(site).items()) == 1


def test_runs_under_many_conditions(tmp_path: Path) -> None:
    site = written(tmp_path / "site", stored(several(), tmp_path / "runs"))
    rows = json.loads(re.findall(r'id="runs">(.*?)</script>', (site / "index.html").read_text())[0])
    unlike = {row["line"]: row["unlike"] for row in rows if row["unlike"]}
    assert unlike["told, class oracle"] == "classes oracle instead of all"
    assert unlike["first"] == "other images"
    assert unlike["renamed"].startswith("names voc/sclip")
    assert len(list((site / "benchmark").iterdir())) == len({row["benchmark"] for row in rows})
    voc = (site / "benchmark" / f"{slug('voc val')}.html").read_text()
    assert "table 1 prints it" in voc  # what papers print stands beside
    assert voc.count('class="sortable"') == 4


@pytest.mark.parametrize("case", range(12))
def test_text_from_outside_is_text(case: int, tmp_path: Path) -> None:
    site = written(tmp_path / "site", stored(nasty(case), tmp_path / "runs"))
    for page in site.rglob("*.html"):
        assert page.resolve().is_relative_to(site.resolve())
        text = page.read_text(encoding="utf-8")
        scripts = re.findall(r"<script[^>]*>", text)
        assert all("src=" in one or "application/json" in one for one in scripts)
        assert not re.findall(r"<(?!/?[a-z!])", text.partition("<body>")[2])
        for content in re.findall(r'application/json"[^>]*>(.*?)</script>', text):
            assert json.loads(content)


def test_what_is_no_site_is_not_touched(tmp_path: Path) -> None:
    runs = stored(several()[:1], tmp_path / "runs")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="mine: holds other files"):
        written(mine, runs)
    assert [path.name for path in mine.iterdir()] == ["thesis.tex"]
    with pytest.raises(UsageError, match="is no folder"):
        written(mine / "thesis.tex", runs)
    elsewhere = written(tmp_path / "site", runs)
    (elsewhere / "run").rename(tmp_path / "pages")
    (elsewhere / "run").symlink_to(tmp_path / "pages")
    with pytest.raises(UsageError, match="run: is a link"):
        written(elsewhere, runs)
    assert len(list((tmp_path / "pages").iterdir())) == 1
    (tmp_path / "empty").mkdir()
    written(tmp_path / "empty", runs)


def test_a_run_that_was_made_twice_counts_once_as_it_was_begun_last(tmp_path: Path) -> None:
    made = [several()[0] for _ in range(3)]
    for miou, (one, day) in enumerate(zip(made, ("02", "03", "01"), strict=True)):
        one["run"]["started"], one["metrics"]["miou"] = f"2026-01-{day}", miou
    (entry,) = read_entries([stored(made, tmp_path / "runs")])
    assert entry.result["metrics"]["miou"] == 1


@pytest.mark.parametrize(
    ("preset", "changes", "kind"),
    [
        (None, {}, "default"),
        ("paper", {}, "preset"),
        ("published", {}, "published"),
        ("published", {"layer": 3}, "changed"),
    ],
)
def test_kinds_of_settings(preset: str | None, changes: dict[str, Any], kind: str) -> None:
    assert preset_kind({"preset": preset, "changes": changes}) == kind
