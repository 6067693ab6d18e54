"""How good, and on what: the head of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ovbench.harness.metrics.definitions import MIOU_DEFINITIONS
from ovbench.leaderboards.report.charts import interval
from ovbench.leaderboards.report.contents import Contents
from ovbench.leaderboards.report.markup import Content, Html, details, el
from ovbench.leaderboards.report.tables import facts
from ovbench.leaderboards.tables.labels import labels
from ovbench.leaderboards.tables.marks import marks
from ovbench.leaderboards.tables.numbers import mebibytes, percent, seconds
from ovbench.leaderboards.tables.sheet import number
from ovbench.leaderboards.tables.table import Conditions, Result

_METRICS = {
    "pixel_accuracy": "pixel accuracy",
    "mean_accuracy": "mean accuracy",
    "fwiou": "frequency-weighted IoU",
    "boundary_iou": "boundary IoU",
}


def summary(contents: Contents) -> Html:
    """Metrics of every run, its conditions, and what differs between runs."""
    results = [run.result for run in contents.runs]
    heads = [run.letter for run in contents.runs] if len(results) > 1 else []
    return el(
        "section",
        el("h2", "Summary"),
        _verdicts(contents),
        el(
            "div",
            el("div", [_run(contents, place) for place in range(len(results))]),
            facts(_metrics(results), heads),
            class_="pair",
        ),
        details("How each mIoU is defined", facts(_definitions(results), heads)),
        id="summary",
    )


def _run(contents: Contents, place: int) -> Html:
    run = contents.runs[place]
    metrics = run.result["metrics"]
    named = labels([one.result for one in contents.runs])
    low, high = metrics["miou_ci95"]
    heading = [
        el("span", run.letter, class_="letter"),
        el("strong", named[run.result["run"]["id"]]),
        el("span", f" [{run.measured.path.resolve().name}]", class_="quiet"),
    ]
    span = "" if low is None else f"95 % interval {percent(low)} to {percent(high)}"
    return el(
        "div",
        el("p", heading) if len(contents.runs) > 1 else None,
        el(
            "p",
            el("span", percent(metrics["miou"]), class_="headline"),
            " mIoU ",
            el("span", span, class_="quiet"),
        ),
        interval(metrics["miou"], low, high),
        el("p", Conditions.of(run.result).words(run.result["run"]["num_images"]), class_="quiet"),
        el("ul", [el("li", mark) for mark in marks(run.result)], class_="marks"),
        class_="run",
    )  # fmt: skip


def _verdicts(contents: Contents) -> Html | None:
    """Each other run against the reference, in words."""
    if not contents.comparisons:
        return None
    lines: list[Html] = []
    for run, comparison in zip(contents.runs[1:], contents.comparisons, strict=True):
        letters = f"{run.letter} against {contents.reference.letter}: "
        notes = [el("li", warning) for warning in comparison.warnings]
        lines.append(el("li", el("strong", letters), f"{comparison.sentence()}.", el("ul", notes)))
    return el("ul", lines, class_="verdicts")


def _metrics(results: Sequence[Result]) -> list[tuple[Content, list[Content]]]:
    rows: list[tuple[Content, list[Content]]] = []
    for key, words in _METRICS.items():
        rows.append((words, [percent(one["metrics"][key]) for one in results]))
    rows.append(("seconds per image", [_time(one, "mean") for one in results]))
    rows.append(("p50, p95", [f"{_time(one, 'p50')}, {_time(one, 'p95')}" for one in results]))
    rows.append(("of each query", [seconds(one["profile"].get("per_query_s")) for one in results]))
    rows.append(("measured on", [_where(one) for one in results]))
    rows.append(("images per second", _each(results, "images_per_s", lambda v: number(v, ".1f"))))
    rows.append(("prepare, seconds", _each(results, "prepare_s", seconds)))
    rows.append(("peak GPU memory, MiB", _each(results, "peak_gpu_bytes", mebibytes)))
    rows.append(("peak RSS, MiB", _each(results, "peak_rss_bytes", mebibytes)))
    return rows


def _each(results: Sequence[Result], key: str, words: Callable[[Any], str]) -> list[Content]:
    return [words(one["profile"][key]) for one in results]


def _time(result: Result, which: str) -> str:
    return seconds(result["profile"]["per_image_s"][which])


def _where(result: Result) -> str:
    run = result["run"]
    return f"{run['device']}, {run['precision']}, batch {run['batch_size']}"


def _definitions(results: Sequence[Result]) -> list[tuple[Content, list[Content]]]:
    found = [one["metrics"]["definitions"] for one in results]
    return [
        (
            [el("code", name), " ", el("span", words, class_="quiet")],
            [percent(one.get(name)) for one in found],
        )
        for name, words in MIOU_DEFINITIONS.items()
        if any(name in one for one in found)
    ]
