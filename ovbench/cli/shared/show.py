"""A result on stdout, as tables or as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from ovbench.cli.shared.console import say, say_json, show, styled
from ovbench.harness.results.seeds import summary_line
from ovbench.harness.results.store import default_directory
from ovbench.leaderboards.tables.marks import marks
from ovbench.leaderboards.tables.numbers import percent, seconds
from ovbench.leaderboards.tables.table import Conditions, variant


def show_result(result: Mapping[str, Any], as_json: bool, output: Path | None) -> None:
    """Print a result; ``output`` is the run directory if it is not the default one."""
    if as_json:
        say_json(result)
        return
    show(_per_class(result))
    show(_summary(result))
    run = result["run"]
    say(output or default_directory(run["method"], run["dataset"], run["id"]))


def show_seeds(summary: Mapping[str, Any], path: Path) -> None:
    """Print what runs under several seeds say together, in a line, and the file that has it."""
    say(summary_line(summary))
    say(path)


def _summary(result: Mapping[str, Any]) -> Table:
    run, metrics, profile = result["run"], result["metrics"], result["profile"]
    title = f"{variant(result)} on {Conditions.of(result).words(run['num_images'])}"
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    low, high = metrics["miou_ci95"]
    interval = f"  [{percent(low)}, {percent(high)}]"
    table.add_row("mIoU", Text.assemble((percent(metrics["miou"]), "bold"), interval))
    others = {k: v for k, v in metrics["definitions"].items() if k != "union"}
    for name, value in others.items():
        table.add_row(f"  {name.replace('_', ' ')}", percent(value))
    table.add_row("pixel accuracy", percent(metrics["pixel_accuracy"]))
    table.add_row("mean accuracy", percent(metrics["mean_accuracy"]))
    table.add_row("fwIoU", percent(metrics["fwiou"]))
    table.add_row("boundary IoU", percent(metrics["boundary_iou"]))
    time = profile["per_image_s"]
    table.add_row(
        "seconds per image",
        f"{seconds(time['mean'])} (p50 {seconds(time['p50'])}, p95 {seconds(time['p95'])}) "
        f"on {run['device']}, {run['precision']}, batch {run['batch_size']}",
    )
    for name, stage in profile["stages"].items():
        table.add_row(f"  {name}", f"{seconds(stage['mean_s'])} ({100 * stage['share']:.0f} %)")
    table.add_row("  reading, counting", _beside(profile))
    table.add_row("images per second", rate(profile["images_per_s"]))
    table.add_row("prepare", f"{seconds(profile['prepare_s'])} s")
    table.add_row("peak memory", memory(profile))
    for note in result["run"].get("notes", []):
        table.add_row("prepared", note)
    for mark in marks(result):
        table.add_row(styled("note", "yellow"), styled(mark, "yellow"))
    return table


def _per_class(result: Mapping[str, Any]) -> Table:
    table = Table(title="Per class", title_justify="left")
    table.add_column("class")
    for heading in ("IoU", "accuracy", "boundary IoU", "share of pixels"):
        table.add_column(heading, justify="right")
    total = sum(row["gt_pixels"] for row in result["per_class"]) or 1
    for row in result["per_class"]:
        table.add_row(
            row["name"],
            percent(row["iou"]),
            percent(row["accuracy"]),
            percent(row["boundary_iou"]),
            percent(100 * row["gt_pixels"] / total),
        )
    return table


def _beside(profile: Mapping[str, Any]) -> str:
    """What the harness itself costs per image, which is not part of the method's time."""
    return f"{seconds(profile['wait_s'])}, {seconds(profile['evaluate_s'])} (not included)"


def rate(value: float | None) -> str:
    """Images per second."""
    return "–" if value is None else f"{value:.1f}"


def memory(profile: Mapping[str, Any]) -> str:
    """The peaks of the GPU and of the process, where there are any."""
    parts = []
    if profile["peak_gpu_bytes"] is not None:
        parts.append(f"{profile['peak_gpu_bytes'] / 2**30:.2f} GiB GPU")
    if profile["peak_rss_bytes"] is not None:
        parts.append(f"{profile['peak_rss_bytes'] / 2**30:.2f} GiB RSS")
    return ", ".join(parts) or "–"
