"""``ovbench export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def export(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Run directories, or folders of them.")
    ],
    to: Annotated[
        Literal["tensorboard", "wandb", "hf"],
        typer.Option("--to", help="Which one; hf: model cards of the Hugging Face hub."),
    ],
    logdir: Annotated[
        Path | None,
        typer.Option("--logdir", metavar="DIR", help="Of TensorBoard; default runs/tensorboard."),
    ] = None,
    project: Annotated[
        str | None, typer.Option("--project", help="Of Weights & Biases; default ovbench.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Of the model cards; default runs/cards."
        ),
    ] = None,
) -> None:
    """Hand results to an experiment tracker, or write them as cards: metrics, profile and settings.

    Weights & Biases follows its own environment: WANDB_MODE=offline sends nothing. Cards are
    written, never uploaded.
    """
    from ovbench.cli.shared.console import say
    from ovbench.errors import UsageError
    from ovbench.leaderboards.formats.export import to_tensorboard, to_wandb
    from ovbench.leaderboards.tables.table import find_results

    owners = (logdir, "tensorboard"), (project, "wandb"), (output, "hf")
    if any(option is not None and to != owner for option, owner in owners):
        raise UsageError(
            "--logdir goes with --to tensorboard, --project with --to wandb, --output with --to hf"
        )
    results = find_results(runs)
    if to == "hf":
        from ovbench.leaderboards.sharing.card import write_cards

        for path in write_cards(results, output or Path("runs", "cards")):
            say(path)
        return
    for result in results:
        if to == "tensorboard":
            say(to_tensorboard(result, logdir or Path("runs", "tensorboard")))
        else:
            say(to_wandb(result, project or "ovbench"))
