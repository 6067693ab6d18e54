"""``ovbench site``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def site(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Run directories, or folders of them."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="A folder that is new, or a site already."
        ),
    ],
    title: Annotated[
        str, typer.Option("--title", metavar="WORDS", help="The heading of the first page.")
    ] = "Open-vocabulary semantic segmentation",
) -> None:
    """Write all runs as a static site: methods by benchmarks, every run, and any two compared.

    It needs no server, and asks for nothing from elsewhere. Given again, the pages of runs that
    have not changed are kept.
    """
    from ovbench.cli.progress.working import counted, work_shown
    from ovbench.cli.shared.console import say
    from ovbench.leaderboards.site.entries import read_entries
    from ovbench.leaderboards.site.write import check_folder, write_site

    check_folder(output)  # found out before a thousand results are read
    entries = read_entries(runs)
    with work_shown(), counted("write pages", len(entries)) as done:
        write_site(output, entries, title, done)
    say(output / "index.html")
