"""The Typer application."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from ovbench.cli import (
    check,
    compare,
    datasets,
    explain,
    export,
    leaderboard,
    profile,
    regress,
    report,
    rescore,
    run,
    score,
    segment,
    support,
    tune,
)
from ovbench.cli import list as listing
from ovbench.cli.console import say

app = typer.Typer(
    name="ovbench",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def show_version(asked: bool) -> None:
    """Print the version and leave."""
    if asked:
        say(f"ovbench {version('ovbench')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """Benchmark open-vocabulary semantic segmentation: how good, how fast, how heavy."""


app.command("run")(run.run)
app.command("tune")(tune.tune)
app.command("segment")(segment.segment)
app.command("explain")(explain.explain)
app.command("profile")(profile.profile)
app.command("score")(score.score)
app.command("leaderboard")(leaderboard.leaderboard)
app.command("compare")(compare.compare)
app.command("report")(report.report)
app.command("rescore")(rescore.rescore)
app.command("regress")(regress.regress)
app.command("export")(export.export)
app.command("check")(check.check)
app.add_typer(listing.app, name="list")
app.add_typer(datasets.app, name="datasets")
app.add_typer(support.app, name="support")
