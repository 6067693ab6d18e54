"""The Typer application."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from ovbench.cli.catalogue import datasets, new, weights
from ovbench.cli.catalogue import list as listing
from ovbench.cli.measure import (
    check,
    explain,
    profile,
    regions,
    rescore,
    run,
    score,
    segment,
    suite,
    support,
    tune,
)
from ovbench.cli.shared.command import Group, add
from ovbench.cli.shared.console import say
from ovbench.cli.tables import compare, export, leaderboard, regress, report, results, site, status

app = typer.Typer(
    name="ovbench",
    cls=Group,
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
        bool,
        typer.Option(
            "--version",
            callback=show_version,
            is_eager=True,
            help="Print the version.",
        ),
    ] = False,
) -> None:
    """Benchmark open-vocabulary semantic segmentation: how good, how fast, how heavy."""


for _command in (
    run.run,
    suite.suite,
    status.status,
    tune.tune,
    segment.segment,
    explain.explain,
    profile.profile,
    score.score,
    leaderboard.leaderboard,
    compare.compare,
    report.report,
    site.site,
    rescore.rescore,
    regress.regress,
    export.export,
    check.check,
):
    add(app, _command.__name__, _command)
app.add_typer(listing.app, name="list")
app.add_typer(datasets.app, name="datasets")
app.add_typer(weights.app, name="weights")
app.add_typer(support.app, name="support")
app.add_typer(regions.app, name="regions")
app.add_typer(new.app, name="new")
app.add_typer(results.app, name="results")
