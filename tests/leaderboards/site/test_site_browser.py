"""The site in a real browser, opened from a disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ovbench.harness.files.json_files import sealed
from ovbench.harness.run.replay import Replay
from ovbench.leaderboards.gates.comparison import compare
from ovbench.leaderboards.report.pictures import Source
from ovbench.leaderboards.site.drawn import Drawing
from ovbench.leaderboards.site.entries import Entry, read_entries
from ovbench.leaderboards.site.write import write_site
from ovbench.leaderboards.tables.measured import Measured


@pytest.fixture
def site(runs: list[Path], tmp_path: Path) -> Path:
    write_site(tmp_path / "site", read_entries(runs), "<b>Mine</b>", lambda _: None)
    return tmp_path / "site"


@pytest.fixture
def view(browser: Any, site: Path) -> Iterator[Any]:
    """Opens a page; nothing outside the site may be asked for, and nothing complained of."""
    contexts, complaints = [], []

    def open_page(name: str, **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        shown = context.new_page()
        shown.on("console", lambda message: complaints.append(message.text))
        shown.on("pageerror", lambda error: complaints.append(str(error)))
        shown.on(
            "request",
            lambda request: (
                None
                if request.url.startswith(("data:", site.as_uri()))
                else complaints.append(request.url)
            ),
        )
        shown.goto(f"{site.as_uri()}/{name}")
        return shown

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def test_the_overview_is_filtered_sorted_and_remembered(view: Any, site: Path) -> None:
    shown = view("index.html")
    assert shown.title() == "<b>Mine</b>"
    assert shown.locator("#overview tbody tr").count() == 1  # one method, three seeds
    assert shown.locator("#notes li").all_inner_texts()[0].startswith("one of 3 runs")
    assert shown.locator("#plot circle").count() == 3
    shown.select_option("#plot-cost", "peak_rss")
    assert "cost=peak_rss" in shown.url
    shown.reload()
    assert shown.input_value("#plot-cost") == "peak_rss"
    heading = shown.locator("#overview thead th").nth(1)
    heading.get_by_role("button").focus()
    shown.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    shown.locator("#overview tbody a").first.click()
    shown.wait_for_load_state()
    assert "/run/" in shown.url
    shown.get_by_role("link", name="Overview").click()
    shown.wait_for_selector("#overview table")


def test_two_runs_are_compared_as_the_command_compares_them(
    view: Any, site: Path, runs: list[Path]
) -> None:
    one, two, three = (read_entries([run])[0] for run in runs)
    shown = view(f"compare.html#a={one.key}&b={two.key}")
    shown.wait_for_selector("#sentence[data-effect]")
    found = json.loads(shown.get_attribute("#sentence", "data-effect"))
    expected = compare(runs[0], runs[1]).overall
    for name in ("effect", "low", "high", "p"):
        assert found[name] == pytest.approx(getattr(expected, name), rel=1e-4, abs=1e-5), name
    rows = shown.locator("#by-class tbody tr")
    assert rows.count() == len(compare(runs[0], runs[1]).per_class)
    shown.select_option("#b", three.key)
    shown.wait_for_function(
        "value => JSON.parse(document.getElementById('sentence').dataset.effect).effect !== value",
        arg=found["effect"],
    )
    assert f"b={three.key}" in shown.url
    found = json.loads(shown.get_attribute("#sentence", "data-effect"))
    assert found["effect"] == pytest.approx(compare(runs[0], runs[2]).overall.effect, abs=1e-5)
    shown.get_by_role("button", name="Exchange").click()
    shown.wait_for_function(
        "value => JSON.parse(document.getElementById('sentence').dataset.effect).effect === -value",
        arg=found["effect"],
    )
    differences = shown.locator("#by-image tbody td:last-child").all_inner_texts()
    sizes = [abs(float(text.replace("−", "-"))) for text in differences]
    assert sizes
    assert sizes == sorted(sizes, reverse=True)


def test_images_are_shown_where_both_runs_kept_their_answers(
    view: Any, site: Path, memory_dataset: Any, made: Any
) -> None:
    dataset = memory_dataset()
    paths = [made(dataset, f"kept-{channel}", channel) for channel in range(2)]
    for path in paths:  # whose classes are the same, and so their ids
        result = json.loads((path / "result.json").read_text())
        result["run"]["id"] += path.name[-1]
        (path / "result.json").write_text(json.dumps(sealed(result)))
    entries = read_entries(paths)
    asked = []

    def source_of(entry: Entry) -> Source:
        asked.append(entry.key)
        run = Measured.read(entry.path)
        return Source(dataset, Replay(entry.path, run.identity, dataset))

    for _ in range(2):
        write_site(site, entries, "Drawn", lambda _: None, Drawing(3, source_of))
    assert sorted(asked) == sorted(entry.key for entry in entries)  # once, the pages are kept
    one, two = entries
    shown = view(f"compare.html#a={one.key}&b={two.key}")
    shown.wait_for_selector("#pictures img")
    drawn = shown.locator("#pictures h3").all_inner_texts()
    listed = shown.locator("#by-image tbody th").all_inner_texts()
    assert drawn == listed[:3]
    assert shown.locator("#pictures img").count() == 18
    widths = "Array.from(document.querySelectorAll('#pictures img'), (one) => one.naturalWidth)"
    assert min(shown.evaluate(widths)) > 0
    shown.goto(f"{site.as_uri()}/run/{one.key}.html")
    assert shown.locator(".card figcaption", has_text="prediction").count() == 3


def test_a_phone_shows_all_without_moving_sideways(view: Any, site: Path) -> None:
    names = [path.relative_to(site).as_posix() for path in sorted(site.rglob("*.html"))]
    assert {name.partition("/")[0] for name in names} > {"run", "method", "benchmark"}
    shown = view("index.html", viewport={"width": 360, "height": 700}, color_scheme="dark")
    for name in names:
        shown.goto(f"{site.as_uri()}/{name}")
        shown.wait_for_selector("table")
        assert shown.evaluate("document.documentElement.scrollWidth") == 360, name
