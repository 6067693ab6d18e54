"""``ovbench leaderboard``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from ovbench.leaderboards.tables.fields import View

_DOCUMENTS = ("markdown", "html", "latex")
_OF_REPORTED = ("markdown", "csv", "json")


def leaderboard(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN", help="Run directories, or folders of them."),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset", "-d", metavar="A,B,...", help="Only these; may also be repeated."
        ),
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="What ranks: miou, pixel_accuracy, mean_accuracy, fwiou, boundary_iou, or another "
            "definition of mIoU, such as gt_only.",
        ),
    ] = "miou",
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            metavar="A,B,...",
            help="These alone, in this order: miou, interval, s_per_image, peak_gpu, ...",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort", metavar="NAME", help="Order the rows by this column, not by the metric."
        ),
    ] = None,
    average: Annotated[
        bool,
        typer.Option(
            "--average",
            help="End the overview with the mean over its benchmarks, and order it by that.",
        ),
    ] = False,
    supervision: Annotated[
        str | None,
        typer.Option(
            "--supervision",
            metavar="A,B,...",
            help="Only what was trained with these labels at the dearest: nothing, images, "
            "captions, classes, boxes, outlines (masks without names), masks, unknown.",
        ),
    ] = None,
    by_supervision: Annotated[
        bool,
        typer.Option(
            "--by-supervision", help="Tables of their own for what was trained with other labels."
        ),
    ] = False,
    with_reported: Annotated[
        bool,
        typer.Option("--with-reported", help="Add what papers print for a benchmark."),
    ] = False,
    reported: Annotated[
        bool,
        typer.Option(
            "--reported",
            help="What papers print, instead of runs: all of it, or of --dataset. As Markdown, "
            "--output is then a folder, for one page each.",
        ),
    ] = False,
    format: Annotated[
        Literal["markdown", "html", "latex", "csv", "json"],
        typer.Option("--format", "-f", help="What is written."),
    ] = "markdown",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write a file."),
    ] = None,
    update: Annotated[
        Path | None,
        typer.Option(
            "--update",
            metavar="FILE",
            help="Put the tables into this document, between its markers.",
        ),
    ] = None,
) -> None:
    """Rank results; runs under different conditions get tables of their own."""
    from ovbench.errors import UsageError
    from ovbench.leaderboards.tables.fields import View

    chosen, labels = _listed(columns), _listed(supervision)
    view = View(metric, chosen, sort, average, by_supervision)
    datasets = [name.strip() for given in dataset or [] for name in given.split(",")]
    if reported == bool(runs):
        raise UsageError("give either run directories or --reported")
    if output and update:
        raise UsageError("give either --output or --update")
    if update and format != "markdown":
        raise UsageError(f"--format {format}: --update is Markdown")
    if reported:
        _refuse_beside_reported(format, with_reported or bool(labels) or view != View())
    elif (chosen or average or by_supervision) and format not in _DOCUMENTS:
        raise UsageError(
            f"--columns, --average, --by-supervision: {format} has every column and no overview"
        )
    pages = _reported(datasets) if reported and format == "markdown" else {}
    if pages:
        text = "\n".join(pages.values())
    elif reported:
        text = _figures(datasets, format)
    else:
        text = _measured(runs or [], format, datasets, labels, view, with_reported)
    _put(text, pages, output, update)


def _put(text: str, pages: dict[str, str], output: Path | None, update: Path | None) -> None:
    """Write it where it was asked for: pages one by one into a folder."""
    from ovbench.cli.shared.console import document, say
    from ovbench.harness.files.atomic import ready_folder
    from ovbench.leaderboards.formats.update import put_between_markers, write_document

    if update is not None:
        say(f"{update}: {'updated' if put_between_markers(update, text) else 'up to date'}")
    elif output is not None and pages:
        for name, page in pages.items():
            ready_folder(output / f"{name}.md")
            write_document(output / f"{name}.md", page)
        say(output)
    elif output is not None:
        write_document(output, text)
        say(output)
    else:
        document(text)


def _refuse_beside_reported(format: str, others: bool) -> None:
    from ovbench.errors import UsageError

    if format not in _OF_REPORTED:
        raise UsageError(f"--format {format}: --reported is {', '.join(_OF_REPORTED)}")
    if others:
        raise UsageError("--reported: what is printed has no columns; leave out the other options")


def _reported(datasets: list[str]) -> dict[str, str]:
    from ovbench.leaderboards.formats.reported_markdown import INDEX, page_names, reported_page

    pages = _pages(datasets) or [INDEX, *page_names()]
    return {page: reported_page(page) for page in pages}


def _figures(datasets: list[str], format: str) -> str:
    from ovbench.leaderboards.formats.reported_flat import reported_csv, reported_json

    pages = _pages(datasets)
    return reported_json(pages) if format == "json" else reported_csv(pages)


def _pages(datasets: list[str]) -> list[str]:
    """The pages on which figures of these datasets stand."""
    from ovbench.errors import UsageError
    from ovbench.leaderboards.formats.reported_markdown import page_names

    known = page_names()
    pages = [page for page, _ in _meant(datasets).values()]
    for page in pages:
        if page not in known:
            raise UsageError(f"{page}: nothing is reported on it; there are {', '.join(known)}")
    return pages


def _meant(datasets: list[str]) -> dict[str, tuple[str, str | None]]:
    """By the name that was given: the registered dataset and, of an alias, its background rule."""
    from ovbench.datasets import ALIASES

    return {name: ALIASES.get(name, (name, None)) for name in datasets}


def _listed(given: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (given or "").split(",") if name.strip())


def _measured(
    runs: list[Path],
    format: str,
    datasets: list[str],
    labels: tuple[str, ...],
    view: View,
    with_reported: bool,
) -> str:
    from ovbench.cli.shared.console import tell
    from ovbench.leaderboards.formats.publish import publish, unreported
    from ovbench.leaderboards.tables.supervision import of_supervision
    from ovbench.leaderboards.tables.table import find_results, of_datasets

    results = of_supervision(of_datasets(find_results(runs), _meant(datasets)), labels)
    if with_reported and (without := unreported(results)):
        where = ", ".join(without)
        tell(f"--with-reported adds nothing: no paper here has figures for these runs on {where}")
    return publish(results, format, view, with_reported=with_reported)
