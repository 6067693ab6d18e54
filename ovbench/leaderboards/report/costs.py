"""Where the time and the memory went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ovbench.leaderboards.report.charts import histogram
from ovbench.leaderboards.report.contents import Contents, ReportedRun
from ovbench.leaderboards.report.markup import Content, Html, el
from ovbench.leaderboards.report.tables import Cell, Column, bar_cell, facts, sortable
from ovbench.leaderboards.tables.numbers import mebibytes, seconds
from ovbench.leaderboards.tables.sheet import number


def costs(contents: Contents) -> Html:
    """Time per image, stages, preparation and memory of every run."""
    several = len(contents.runs) > 1
    return el(
        "section",
        el("h2", "Time and memory"),
        [_run(run, several) for run in contents.runs],
        id="costs",
    )


def _run(run: ReportedRun, several: bool) -> Html:
    profile, info = run.result["profile"], run.result["run"]
    if not profile["images_measured"]:
        return el("p", f"{run.measured.name}: nothing was timed, as no method ran.", class_="quiet")
    costs = run.measured.records.costs
    measured = [cost for cost in costs if not cost.warmup] or costs
    times = np.array([cost.compute_s for cost in measured])
    time = profile["per_image_s"]
    marks = {"p50": time["p50"], "mean": time["mean"], "p95": time["p95"]}
    warmup = ", without the first ones of each process" if profile["warmup_excluded"] else ""
    words = (
        f"Seconds per image of {profile['images_measured']:,} images{warmup}, on "
        f"{info['device']}, {info['precision']}, batch {info['batch_size']}. The last bar also "
        "holds the slowest hundredth."
    )
    return el(
        "div",
        el("h3", el("span", run.letter, class_="letter"), run.measured.name) if several else None,
        el("p", words, class_="quiet"),
        histogram(times, "s", marks),
        el(
            "div",
            el(
                "div",
                sortable(f"stages-{run.letter}", "Stages of an image", _columns("stage"),
                         _stages(profile)),
            ),
            facts(_rest(profile)),
            class_="pair",
        ),
        class_="block",
    )  # fmt: skip


def _columns(what: str) -> list[Column]:
    return [Column(what, numeric=False), Column("s / image"), Column("share")]


def _stages(profile: Mapping[str, Any]) -> list[list[Cell]]:
    """The stages that the method marked, and what is outside them."""
    found = {name: (one["mean_s"], one["share"]) for name, one in profile["stages"].items()}
    outer = [one for name, one in found.items() if "/" not in name]
    mean = profile["per_image_s"]["mean"]
    if mean:
        left = max(0.0, mean - sum(mean_s or 0.0 for mean_s, _ in outer))
        found["outside the stages"] = (left, left / mean)
    return [
        [
            Cell(name, name),
            Cell(seconds(mean_s), mean_s),
            bar_cell(share, number(None if share is None else 100 * share, ".1f") + " %", 1),
        ]
        for name, (mean_s, share) in found.items()
    ]


def _rest(profile: Mapping[str, Any]) -> list[tuple[Content, list[Content]]]:
    """What is spent once, what the harness itself costs, and memory."""
    rows: list[tuple[Content, list[Content]]] = [("prepare, s", [seconds(profile["prepare_s"])])]
    for name, value in profile["prepare_stages_s"].items():
        rows.append((f"– {name}, s", [seconds(value)]))
    rows += [
        ("waiting for an image, s (not included)", [seconds(profile["wait_s"])]),
        ("counting an image, s (not included)", [seconds(profile["evaluate_s"])]),
        ("peak RSS, MiB", [mebibytes(profile["peak_rss_bytes"])]),
        ("peak GPU memory, MiB", [mebibytes(profile["peak_gpu_bytes"])]),
        ("reserved GPU memory, MiB", [mebibytes(profile["peak_gpu_reserved_bytes"])]),
    ]
    if (parameters := profile.get("parameters")) is not None:
        rows.append(("parameters", [f"{parameters:,}"]))
    return rows
