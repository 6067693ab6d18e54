"""``ovbench datasets``."""

from __future__ import annotations

from typing import Annotated

import typer

from ovbench.cli import options as opt
from ovbench.cli import prepare

app = typer.Typer(help="Look after dataset folders.", no_args_is_help=True)
app.command("prepare")(prepare.prepare)


@app.command("verify")
def verify(
    name: Annotated[str, typer.Argument(help="See `ovbench list datasets`.")],
    root: opt.Root = None,
    split: opt.Split = None,
    background: opt.Background = None,
) -> None:
    """Read every image and label map of a split and report what is wrong.

    Exit code 2 if a file is missing, corrupt or inconsistent; a wrong count is a warning.
    """
    from ovbench.cli.progress import progress_bar
    from ovbench.datasets import load_dataset
    from ovbench.datasets.verify import verify as verify_dataset

    dataset = load_dataset(name, root=root, split=split, background=background)
    with progress_bar() as progress:
        task = progress.add_task(f"verify {name}", total=len(dataset.ids), note="")
        report = verify_dataset(dataset, lambda done: progress.update(task, completed=done))
    print("\n".join(report.lines()))
    if report.problems:
        raise typer.Exit(2)
