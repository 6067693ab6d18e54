"""The pages of the site but those of runs, whose is the report's."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from string import Template

from ovbench.errors import UsageError
from ovbench.harness.registry.glance import card_of
from ovbench.leaderboards.report.markup import Content, Html, el, html
from ovbench.leaderboards.report.tables import Cell, Column, facts, percent_cell, sortable
from ovbench.leaderboards.site.entries import Entry, slug
from ovbench.leaderboards.site.numbers import embedded
from ovbench.leaderboards.tables.board_sheet import board_sheet
from ovbench.leaderboards.tables.fields import FIELDS, View
from ovbench.leaderboards.tables.numbers import mebibytes, percent, seconds
from ovbench.leaderboards.tables.sheet import DASH, Sheet
from ovbench.leaderboards.tables.sheet import Cell as SheetCell
from ovbench.leaderboards.tables.table import Conditions, boards
from ovbench.text import visible

_FILTERS = {
    "supervision": "trained with",
    "backbones": "backbone",
    "preset": "settings",
    "classes": "classes",
    "names": "class names",
    "weights": "weights",
}


def overview_page(entries: Sequence[Entry], title: str) -> str:
    """Methods by benchmarks, quality against cost, and what filters both; the script draws it."""
    body = html(
        [
            el(
                "section",
                el("h2", "Methods and benchmarks"),
                el("div", [_choice(name, words) for name, words in _FILTERS.items()],
                   el("button", "Show all", type="button", id="reset"), class_="controls"),
                el("p", role="status", class_="quiet", id="count"),
                el("div", id="overview"),
                el("ol", id="notes", class_="quiet"),
                id="table",
            ),
            el(
                "section",
                el("h2", "Quality against cost"),
                el("div",
                   el("label", "of ", el("select", id="plot-benchmark")),
                   el("label", "against ", el("select",
                      el("option", "seconds per image", value="s_per_image"),
                      el("option", "peak GPU memory, MiB", value="peak_gpu"),
                      el("option", "peak RSS, MiB", value="peak_rss"), id="plot-cost")),
                   class_="controls"),
                el("div", id="plot"),
                id="cost",
            ),
            el("section", el("h2", "Benchmarks"), el("ul", _benchmarks(entries)), id="benchmarks"),
            el("section", el("h2", "Methods"), el("ul", _methods(entries)), id="methods"),
            el("script", Html(embedded([entry.summary() for entry in entries])),
               type="application/json", id="runs"),
        ]
    )  # fmt: skip
    return shell(title, body, "", current="index.html")


def compare_page(entries: Sequence[Entry]) -> str:
    """Any two runs of one benchmark; the script fetches their numbers."""
    body = html(
        [
            el(
                "section",
                el("div",
                   el("label", "benchmark ", el("select", id="benchmark")),
                   el("label", "A ", el("select", id="a")), el("label", "B ", el("select", id="b")),
                   el("button", "Exchange", type="button", id="exchange"), class_="controls"),
                el("p", role="status", id="sentence"),
                el("p", id="told", class_="quiet"),
            ),
            el("section", el("h2", "Classes"), el("div", id="by-class")),
            el("section", el("h2", "Images that differ most"), el("div", id="by-image"),
               el("div", id="pictures")),
            el("script", Html(embedded([_compared(entry) for entry in entries])),
               type="application/json", id="compared"),
        ]
    )  # fmt: skip
    return shell("Compare two runs", body, "", current="compare.html")


def benchmark_page(name: str, entries: Sequence[Entry]) -> str:
    """One benchmark's boards, with what papers print for it."""
    by_id = {entry.result["run"]["id"]: entry for entry in entries}
    sections = []
    for board in boards([entry.result for entry in entries]):
        view = View()
        sheet = board_sheet(board, view, with_reported=True)
        rows = [by_id[row["run"]["id"]] for row in view.ordered(board.rows)]
        anchor = slug(board.title)
        sections.append(
            el("section", el("h2", board.title), _sheet(sheet, rows, anchor), id=f"s-{anchor}")
        )
    return shell(name, html(sections), "../")


def method_page(name: str, entries: Sequence[Entry]) -> str:
    """What a method is, and all its runs."""
    columns = [
        Column("benchmark", numeric=False),
        Column("run", numeric=False),
        Column("mIoU"),
        Column("95 % interval", numeric=False),
        Column("s/image"),
        Column("peak GPU MiB"),
        Column("peak RSS MiB"),
        Column("conditions", numeric=False),
    ]
    rows = [_of_method(entry) for entry in entries]
    body = html(
        [
            el("section", el("h2", "Method"), _card(name), id="card"),
            el("section", el("h2", "Runs"), sortable("runs-of", f"Runs of {name}", columns, rows)),
        ]
    )
    return shell(name, body, "../")


def result_page(entry: Entry, made_of: str) -> str:
    """A run of which only the result is left; ``made_of`` is for :func:`around`."""
    metrics = entry.result["metrics"]
    low, high = metrics["miou_ci95"]
    span = "" if low is None else f"95 % interval {percent(low)} to {percent(high)}"
    conditions = Conditions.of(entry.result)
    summary = entry.summary()
    columns = [Column("class", numeric=False), Column("IoU"), Column("accuracy")]
    rows = [
        [Cell(row["name"], row["name"]), percent_cell(row["iou"]), percent_cell(row["accuracy"])]
        for row in entry.result["per_class"]
    ]
    body = html(
        [
            el(
                "section",
                el("p", el("span", percent(metrics["miou"]), class_="headline"), " mIoU ",
                   el("span", span, class_="quiet")),
                el("p", conditions.words(entry.result["run"]["num_images"]), class_="quiet"),
                el("ul", [el("li", mark) for mark in summary["marks"]], class_="marks"),
                el("p", "Its records are not here: classes are all that is known.",
                   class_="quiet"),
            ),
            el("section", el("h2", "Classes"), sortable("class-table", "Classes", columns, rows)),
        ]
    )  # fmt: skip
    return shell(
        f"{entry.label} on {conditions.benchmark}", body, "../", around=around(entry, made_of)
    )


def around(entry: Entry, made_of: str = "") -> Html:
    """From a run's page to those around it."""
    method = entry.result["run"]["method"]
    links = [
        el("a", "Overview", href="../index.html"),
        el("a", entry.benchmark, href=f"../benchmark/{slug(entry.benchmark)}.html"),
        el("a", method, href=f"../method/{slug(method)}.html"),
        el("a", "Compare", href=f"../compare.html#a={entry.key}"),
    ]
    return el("nav", links, aria_label="Site", class_="site", data_made_of=made_of or None)


def shell(title: str, body: Html, up: str, *, current: str = "", around: Html | None = None) -> str:
    """A page of the site.

    Args:
        up: from its folder to the site's.
        around: links that stand in place of the usual ones.
    """
    links = [
        el("a", words, href=f"{up}{page}", aria_current="page" if page == current else None)
        for page, words in (("index.html", "Overview"), ("compare.html", "Compare"))
    ]
    return Template(static("shell.html")).substitute(
        title=html(title),
        up=up,
        nav=around or el("nav", links, aria_label="Site", class_="site"),
        body=body,
    )


def static(name: str) -> str:
    """One of the files that pages share."""
    return (files("ovbench.leaderboards.site") / "static" / name).read_text(encoding="utf-8")


def _choice(name: str, words: str) -> Html:
    return el("label", f"{words} ", el("select", el("option", "all", value=""), data_filter=name))


def _benchmarks(entries: Sequence[Entry]) -> list[Html]:
    names = sorted({entry.benchmark for entry in entries})
    return [el("li", el("a", name, href=f"benchmark/{slug(name)}.html")) for name in names]


def _methods(entries: Sequence[Entry]) -> list[Html]:
    names = sorted({entry.result["run"]["method"] for entry in entries})
    return [el("li", el("a", name, href=f"method/{slug(name)}.html")) for name in names]


def _compared(entry: Entry) -> dict[str, Content]:
    summary = entry.summary()
    run = entry.result["run"]["id"]
    return {
        **{name: summary[name] for name in ("key", "benchmark", "miou", "same", "images")},
        "label": f"{summary['line']} [{visible(run)}]",
        "unlike": summary["unlike"],
    }


def _sheet(sheet: Sheet, entries: Sequence[Entry], anchor: str) -> Html:
    """A sheet as a table that can be sorted, its methods leading to their runs."""
    columns = [Column(column.title, column.numeric) for column in sheet.columns]
    measured = [
        [_of_sheet(sheet, cell, place, entry) for place, cell in enumerate(row)]
        for row, entry in zip(sheet.rows, entries, strict=True)
    ]
    beside = [
        [_of_sheet(sheet, cell, place, None) for place, cell in enumerate(row)]
        for row in sheet.beside
    ]
    notes = [el("li", note) for note in sheet.notes]
    return html(
        [
            sortable(f"t-{anchor}", sheet.title, columns, [*measured, *beside]),
            el("ol", notes, class_="quiet") if notes else None,
        ]
    )


def _of_sheet(sheet: Sheet, cell: SheetCell, place: int, entry: Entry | None) -> Cell:
    content: Content = cell.text
    if place == 1 and entry is not None:
        content = el("a", cell.text, href=f"../run/{entry.key}.html")
    if cell.verbatim:
        content = el("code", cell.text)
    if cell.place is not None:
        content = el("strong" if cell.place == 1 else "u", content)
    if noted := sheet.marks(cell):
        content = [content, el("sup", noted)]
    if not sheet.columns[place].numeric:
        return Cell(content, cell.text)
    try:
        return Cell(content, float(cell.text.replace("−", "-")))
    except ValueError:  # a dash, or an interval
        return Cell(content, None)


def _of_method(entry: Entry) -> list[Cell]:
    summary, result = entry.summary(), entry.result
    page = f"../benchmark/{summary['page']}.html"
    profile = result["profile"]
    mean, gpu, rss = profile["per_image_s"]["mean"], summary["peak_gpu"], summary["peak_rss"]
    told = "; ".join([*([summary["unlike"]] if summary["unlike"] else []), *summary["marks"]])
    interval = FIELDS["interval"].show(result)
    return [
        Cell(el("a", entry.benchmark, href=page), entry.benchmark),
        Cell(el("a", entry.label, href=f"../run/{entry.key}.html"), entry.label),
        percent_cell(summary["miou"]),
        Cell(interval, None if interval == DASH else interval),
        Cell(seconds(mean), mean),
        Cell(mebibytes(gpu), gpu),
        Cell(mebibytes(rss), rss),
        Cell(told, told),
    ]


def _card(name: str) -> Html:
    try:
        card = card_of(name)
    except UsageError:
        card = None
    if card is None:
        return el("p", "Of a package that is not installed here.", class_="quiet")
    rows: list[tuple[Content, list[Content]]] = [
        ("what it is", [card.summary]),
        ("paper", [f"{card.paper} {card.year}"]),
        ("kind", [card.kind]),
        ("backbones", [", ".join(card.backbones)]),
        ("weights", [", ".join(card.weights)]),
        ("licence of its code", [card.code_licence]),
    ]
    return facts(rows)
