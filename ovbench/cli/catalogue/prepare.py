"""``ovbench datasets prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ovbench.cli.shared import options as opt


def prepare(
    name: opt.DatasetArgument,
    root: Annotated[
        Path,
        typer.Option(
            "--root", metavar="DIR", envvar="OVBENCH_DATA", help="Where to unpack the archives."
        ),
    ],
    variant: opt.Variant = None,
    keep_archives: Annotated[
        bool, typer.Option("--keep-archives", help="Do not delete what was downloaded.")
    ] = False,
) -> None:
    """Fetch, check and unpack a dataset's official archives; run again to go on.

    Licences are shown first. Nothing that is there is overwritten; an archive that lies in the
    root already is used instead of downloaded.
    """
    from ovbench.cli.progress.preparing import PrepareProgress
    from ovbench.cli.shared.console import say
    from ovbench.datasets import ALIASES
    from ovbench.datasets.fetching.prepare import prepare as prepare_dataset
    from ovbench.harness.files.home import at_home
    from ovbench.harness.registry.names import DATASETS

    name = ALIASES[name][0] if name in ALIASES else name
    DATASETS.entry(name)
    folder = at_home(root)
    with PrepareProgress() as watching:
        prepare_dataset(name, folder, watching, variant=variant, keep_archives=keep_archives)
    say(f"{name} is in {folder}; `ovbench datasets verify {name} --root {folder}` reads it all")
