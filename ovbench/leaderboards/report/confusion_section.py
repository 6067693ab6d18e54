"""The confusion matrix, and its largest mistakes in words."""

from __future__ import annotations

from ovbench.leaderboards.report.charts import matrix_picture
from ovbench.leaderboards.report.confusions import mistakes
from ovbench.leaderboards.report.contents import Contents, ReportedRun
from ovbench.leaderboards.report.markup import Html, el
from ovbench.leaderboards.report.tables import Cell, Column, bar_cell, sortable

_NAMED = 20
_MANY = 40


def confusion_section(contents: Contents) -> Html:
    """One matrix and one list per run."""
    several = len(contents.runs) > 1
    return el(
        "section",
        el("h2", "Confusions"),
        el(
            "p",
            "Rows are the true classes, columns the answers; a row adds up to 100 %. ",
            el("i", class_="swatch right"), " right, ",
            el("i", class_="swatch wrong"), " mistaken; the stronger, the more of the row. "
            "Point at a cell, or move with the arrow keys, to read it.",
            class_="quiet",
        ),
        [_run(run, several) for run in contents.runs],
        id="confusions",
    )  # fmt: skip


def _run(run: ReportedRun, several: bool) -> Html:
    names = run.measured.labels
    total = int(run.matrix.sum()) or 1
    rows = [
        [
            Cell(names[one.truth], names[one.truth]),
            Cell(names[one.answer], names[one.answer]),
            bar_cell(one.share, f"{100 * one.share:.1f} %", 1),
            Cell(f"{100 * one.pixels / total:.3f} %", one.pixels),
        ]
        for one in mistakes(run.matrix, _NAMED)
    ]
    columns = [
        Column("class", numeric=False),
        Column("is taken for", numeric=False),
        Column("share of the class"),
        Column("share of all pixels"),
    ]
    label = "Confusion matrix" + (f" of {run.letter}" if several else "")
    enlarge = el("button", "Full size", type="button", class_="enlarge", aria_pressed="false")
    return el(
        "div",
        el("h3", el("span", run.letter, class_="letter"), run.measured.name) if several else None,
        el(
            "div",
            el(
                "div",
                el("p", enlarge, class_="controls") if len(names) > _MANY else None,
                el("div", matrix_picture(run.matrix, names, label), class_="scroll"),
                el("p", " ", role="status", class_="readout"),
            ),
            el("div", sortable(f"mistakes-{run.letter}", f"Largest mistakes{label[16:]}", columns,
                               rows)),
            class_="pair",
        ),
        class_="block",
    )  # fmt: skip
