"""``ovbench datasets``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ovbench.cli.catalogue import prepare
from ovbench.cli.shared import options as opt
from ovbench.cli.shared.command import Group, add

app = typer.Typer(cls=Group, help="Look after dataset folders.", no_args_is_help=True)


def verify(
    name: opt.DatasetArgument,
    root: opt.Root = None,
    split: opt.Split = None,
    background: opt.Background = None,
    names: opt.Names = None,
    variant: opt.Variant = None,
    workers: opt.Workers = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Read every image and label map of a split and report what is wrong.

    Exit code 2 if a file is missing, corrupt or inconsistent; a wrong count is a warning.
    """
    from ovbench.cli.progress.working import counted
    from ovbench.cli.shared.console import say, say_json
    from ovbench.datasets import load_dataset
    from ovbench.datasets.reading.verify import verify as verify_dataset

    dataset = load_dataset(
        name, root=root, split=split, background=background, names=names, variant=variant
    )
    with counted(f"verify {name}", len(dataset.ids)) as done:
        report = verify_dataset(dataset, done, workers=workers)
    if as_json:
        say_json(report.content())
    else:
        for line in report.lines():
            say(line)
    if report.problems:
        raise typer.Exit(2)


def show(
    name: opt.DatasetArgument,
    root: opt.Root = None,
    split: opt.Split = None,
    background: opt.Background = None,
    names: opt.Names = None,
    variant: opt.Variant = None,
    subset: opt.Subset = None,
    n: Annotated[int, typer.Option("--n", min=1, help="How many samples.")] = 12,
    seed: Annotated[
        int,
        typer.Option("--seed", help="Draws the samples.", callback=opt.seed_in_range),
    ] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="PNG; default <name>-<split>.png."),
    ] = None,
) -> None:
    """Draw a contact sheet: images, their labels in colour, and a legend."""
    from ovbench.cli.shared.console import save_picture, tell
    from ovbench.datasets import load_dataset
    from ovbench.datasets.reading.contact_sheet import choose, contact_sheet
    from ovbench.errors import DataError, UsageError

    dataset = load_dataset(
        name,
        root=root,
        split=split,
        background=background,
        names=names,
        variant=variant,
        subset=subset,
    )
    samples = []
    for index in choose(len(dataset.ids), n, seed):
        try:
            samples.append(dataset.load(index))
        except DataError as error:
            tell(f"left out: {error}")
    if not samples:
        raise UsageError(f"{name}: none of the chosen images can be read")
    path = output or Path(f"{name}-{dataset.info.split}.png")
    sheet = contact_sheet(dataset.vocabulary, samples, dataset.info.ignore_label)
    save_picture(sheet, path)


for _command in (prepare.prepare, verify, show):
    add(app, _command.__name__, _command, "datasets")
