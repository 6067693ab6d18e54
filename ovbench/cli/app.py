"""The Typer application."""

from __future__ import annotations

import typer

from ovbench.cli import check, datasets, leaderboard, run, score
from ovbench.cli import list as listing

app = typer.Typer(
    name="ovbench",
    help="Benchmark open-vocabulary semantic segmentation: how good, how fast, how heavy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("score")(score.score)
app.command("leaderboard")(leaderboard.leaderboard)
app.command("check")(check.check)
app.add_typer(listing.app, name="list")
app.add_typer(datasets.app, name="datasets")
