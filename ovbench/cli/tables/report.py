"""``ovbench report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovbench.cli.shared import options as opt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovbench.leaderboards.report.contents import Contents
    from ovbench.leaderboards.report.pictures import Pictures, Source
    from ovbench.leaderboards.tables.table import Result


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Run directories; the first is the reference."),
    ],
    root: opt.Root = None,
    images: Annotated[
        int,
        typer.Option("--images", min=0, help="How many of the worst, median and best images."),
    ] = 12,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Whether to draw the images.")
    ] = True,
    device: opt.Device = "auto",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="HTML file; default <RUN>.html."),
    ] = None,
) -> None:
    """Show a run, or several side by side, as one HTML file that needs nothing else.

    Predictions that were not kept (`ovbench run --save-predictions`) are made again for the
    images that are shown.
    """
    from ovbench.cli.shared.console import say
    from ovbench.errors import UsageError
    from ovbench.harness.files.atomic import replacing
    from ovbench.leaderboards.report.contents import read_contents
    from ovbench.leaderboards.report.page import page
    from ovbench.leaderboards.report.pictures import Pictures

    path = output or Path("-vs-".join(run.resolve().name for run in runs) + ".html")
    if not path.parent.is_dir():  # found out before minutes of drawing
        raise UsageError(f"{path}: cannot be written (no folder {path.parent})")
    contents = read_contents(runs, images)
    if pictures:
        drawn = _draw(contents, root, device)
    else:
        drawn = Pictures(missing="No pictures, as asked for with --no-pictures.")
    with replacing(path) as temporary:
        temporary.write_text(page(contents, drawn), encoding="utf-8")
    say(path)


def _draw(contents: Contents, root: Path | None, device: str) -> Pictures:
    """The pictures, or why there are none."""
    from ovbench.cli.progress.working import counted
    from ovbench.cli.shared.console import tell
    from ovbench.errors import UsageError
    from ovbench.leaderboards.report.pictures import Pictures, draw

    try:
        sources = [
            source_of(run.measured.path, run.measured.identity, run.result, root, device)
            for run in contents.runs
        ]
        with counted("draw", len(sources) * len(contents.chosen)) as done:
            return draw(contents, sources, done)
    except UsageError as error:
        tell(f"no pictures: {error}")
        return Pictures(missing=f"No pictures: {error}. {_mend(contents)}")


def source_of(
    path: Path, identity: Mapping[str, Any], result: Result, root: Path | None, device: str
) -> Source:
    """Where the pictures of a run come from.

    Raises:
        UsageError: its data is not here.
    """
    from ovbench.datasets.derived.recorded import load_recorded
    from ovbench.harness.run.replay import Replay
    from ovbench.leaderboards.report.pictures import Source

    dataset = load_recorded(identity, root=root)
    size = result["run"]["batch_size"]
    return Source(dataset, Replay(path, identity, dataset, batch_size=size, device=device))


def _mend(contents: Contents) -> str:
    """What to type to have pictures."""
    import shlex

    paths = shlex.join(str(run.measured.path) for run in contents.runs)
    return f"To have them: ovbench report {paths} --root DIR, the folder that holds the dataset."
