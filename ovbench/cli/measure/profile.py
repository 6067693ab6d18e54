"""``ovbench profile``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovbench.cli.shared import completion
from ovbench.cli.shared import options as opt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table
    from rich.text import Text


def profile(
    methods: Annotated[
        list[str],
        typer.Argument(
            metavar="METHOD", help="See `ovbench list methods`.", autocompletion=completion.methods
        ),
    ],
    dataset: opt.DatasetName,
    root: opt.Root = None,
    split: opt.Split = None,
    background: opt.Background = None,
    names: opt.Names = None,
    variant: opt.Variant = None,
    prompts: opt.Prompts = None,
    shots: opt.Shots = None,
    batch_sizes: Annotated[
        str,
        typer.Option(
            "--batch-sizes", metavar="N,N,...", help="Images given to the method at once."
        ),
    ] = "1,2,4",
    sizes: Annotated[
        str,
        typer.Option(
            "--sizes",
            metavar="SIZE,...",
            help="What pictures are resized to: a side of a square, WxH, or native for not at all.",
        ),
    ] = "native",
    precisions: Annotated[
        str, typer.Option("--precisions", metavar="A,B,...", help="Of fp32, bf16 and fp16.")
    ] = "fp32",
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Measured batches.")] = 10,
    warmup: Annotated[
        int, typer.Option("--warmup", min=0, help="Batches before the measured ones.")
    ] = 2,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Only the first N images.")] = 16,
    checkpoints: opt.Checkpoints = "auto",
    preset: opt.Preset = None,
    settings_file: opt.SettingsFile = None,
    settings: opt.Set = None,
    device: opt.Device = "auto",
    seed: opt.Seed = 0,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the figures into this PNG.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="JSON file; given again, its rows are kept."
        ),
    ] = None,
    as_json: opt.AsJson = False,
) -> None:
    """Measure latency, throughput, stages and peak memory, each configuration by itself.

    Lists are separated by commas; every combination is measured in a process of its own.
    """
    from ovbench.cli.progress.run import steps
    from ovbench.cli.shared.console import say, say_json, show
    from ovbench.datasets import load_dataset
    from ovbench.errors import OvbenchError, UsageError
    from ovbench.harness.contract.published import PUBLISHED
    from ovbench.harness.files.atomic import ready_folder, replacing
    from ovbench.harness.profile.sweep import Grid, Options, Sweep
    from ovbench.harness.registry.settings_file import given_settings

    if plot is not None and plot.suffix.lower() != ".png":
        raise UsageError(f"--plot {plot}: the picture is a PNG; name it so")
    grid = Grid.parse(methods, batch_sizes, sizes, precisions)
    given: dict[str, Any] = {}
    for method in methods:  # a settings file is for one method, and refused for any other
        given = given_settings(settings_file, method, settings)
    data = load_dataset(
        dataset,
        root=root,
        split=split,
        background=background,
        names=names,
        variant=variant,
        prompts=prompts,
        shots=shots,
        seed=seed,
        names_of=methods if preset == PUBLISHED else (),
    )
    for path in (plot, output):
        if path is not None:
            ready_folder(path)
    options = Options(
        preset=preset,
        settings=given,
        device=device,
        checkpoints=opt.flavour(checkpoints, data.info),
        seed=seed,
        limit=limit,
        warmup=warmup,
        repeats=repeats,
        command=opt.command_line(),
    )
    with steps(f"profile on {dataset}", "configurations", log_every_s=0) as watching:
        found = Sweep(grid, data, options, watching).execute(output)
    if plot is not None:
        from ovbench.leaderboards.tables.profile_chart import profile_chart

        with replacing(plot) as temporary:
            profile_chart(found).savefig(temporary, format="png", dpi=150)
    if as_json:
        say_json(found)
    else:
        show(_table(found))
        for path in (output, plot):
            if path is not None:
                say(path)
    if all(row["figures"] is None for row in found["rows"]):
        raise OvbenchError("no configuration could be measured")


def _table(found: Mapping[str, Any]) -> Table:
    from rich.table import Table

    from ovbench.leaderboards.tables.profile_words import conditions_words

    table = Table(title=conditions_words(found), title_justify="left")
    for heading in ("method", "precision", "size"):
        table.add_column(heading)
    for heading in ("batch", "median s", "p95 s", "images/s", "prepare s", "peak memory"):
        table.add_column(heading, justify="right")
    table.add_column("stages")
    for row in found["rows"]:
        table.add_row(
            row["method"], row["precision"], row["size"], str(row["batch_size"]), *_cells(row)
        )
    return table


def _cells(row: Mapping[str, Any]) -> tuple[str | Text, ...]:
    """The figures of a row, or why there are none."""
    from ovbench.cli.shared.console import styled
    from ovbench.cli.shared.show import memory, rate
    from ovbench.leaderboards.tables.numbers import seconds

    figures = row["figures"]
    if figures is None:
        status = row["status"].replace("_", " ")
        return *["–"] * 5, styled(f"{status}: {row['reason']}", "yellow")
    latency = figures["latency_s"]
    # A stage inside another is part of that one's share; below half a percent is noise.
    shares = {
        name: s["share"]
        for name, s in figures["stages"].items()
        if "/" not in name and s["share"] >= 0.005
    }
    return (
        seconds(latency["median"]),
        seconds(latency["p95"]),
        rate(figures["images_per_s"]),
        seconds(figures["prepare_s"]),
        memory(figures),
        ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items()),
    )
