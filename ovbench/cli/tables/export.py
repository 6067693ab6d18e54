"""``ovbench export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def export(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Run directories, or folders of them.")
    ],
    to: Annotated[Literal["tensorboard", "wandb"], typer.Option("--to", help="Which one.")],
    logdir: Annotated[
        Path | None,
        typer.Option("--logdir", metavar="DIR", help="Of TensorBoard; default runs/tensorboard."),
    ] = None,
    project: Annotated[
        str | None, typer.Option("--project", help="Of Weights & Biases; default ovbench.")
    ] = None,
) -> None:
    """Hand results to an experiment tracker: metrics, classes' IoU, profile and settings.

    Weights & Biases follows its own environment: WANDB_MODE=offline sends nothing.
    """
    from ovbench.cli.shared.console import say
    from ovbench.errors import UsageError
    from ovbench.leaderboards.formats.export import to_tensorboard, to_wandb
    from ovbench.leaderboards.tables.table import find_results

    if (logdir is not None and to != "tensorboard") or (project is not None and to != "wandb"):
        raise UsageError("--logdir goes with --to tensorboard, --project with --to wandb")
    for result in find_results(runs):
        if to == "tensorboard":
            say(to_tensorboard(result, logdir or Path("runs", "tensorboard")))
        else:
            say(to_wandb(result, project or "ovbench"))
