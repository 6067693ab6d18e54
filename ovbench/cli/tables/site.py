"""``ovbench site``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovbench.cli.shared import options as opt

if TYPE_CHECKING:
    from ovbench.leaderboards.report.pictures import Source
    from ovbench.leaderboards.site.drawn import SourceOf
    from ovbench.leaderboards.site.entries import Entry


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
    images: Annotated[
        int,
        typer.Option(
            "--images",
            min=0,
            help="Draw so many images of each benchmark, those on which its runs differ most, for "
            "runs that kept their predictions.",
        ),
    ] = 0,
    root: opt.Root = None,
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
    from ovbench.leaderboards.site.drawn import Drawing
    from ovbench.leaderboards.site.entries import read_entries
    from ovbench.leaderboards.site.write import check_folder, write_site

    drawing = Drawing(images, _sources(root)) if images else None
    check_folder(output)  # found out before a thousand results are read
    entries = read_entries(runs)
    with work_shown(), counted("write pages", len(entries)) as done:
        write_site(output, entries, title, done, drawing)
    say(output / "index.html")


def _sources(root: Path | None) -> SourceOf:
    """Of runs that kept their predictions, whose data is here; of others it is told, once each."""
    from ovbench.cli.shared.console import tell
    from ovbench.cli.tables.report import source_of
    from ovbench.errors import UsageError
    from ovbench.harness.results.store import RunStore

    told = set[str]()

    def of_entry(entry: Entry) -> Source | None:
        identity = RunStore(entry.path).identity()
        if identity is None or not (entry.path / "predictions").is_dir():
            return None
        try:
            return source_of(entry.path, identity, entry.result, root, "cpu")
        except UsageError as error:
            if str(error) not in told:
                tell(f"no pictures: {error}")
            told.add(str(error))
            return None

    return of_entry
