"""``ovbench new``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovbench.cli.shared.command import Group, add

if TYPE_CHECKING:
    from ovbench.scaffold.package import PackageKind

app = typer.Typer(
    cls=Group, help="Start a method or a dataset in a package of its own.", no_args_is_help=True
)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Under which it is registered and imported.")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="A new or empty folder; default: NAME."),
]


def method(name: Name, output: Output = None) -> None:
    """Write a package with a method that runs, its settings, and tests that check it."""
    _write("method", name, output)


def dataset(name: Name, output: Output = None) -> None:
    """Write a package with a dataset that can be scored, and tests that verify it."""
    _write("dataset", name, output)


def _write(kind: PackageKind, name: str, output: Path | None) -> None:
    import shlex

    from ovbench.cli.shared.console import say
    from ovbench.harness.files.home import at_home
    from ovbench.scaffold.package import commands, new_package

    folder = Path(name) if output is None else at_home(output)
    for file in new_package(kind, name, folder):
        say(folder / file)
    say("next:")
    for line in commands(kind, name, shlex.quote(str(folder))):
        say(f"  {line}")


for _command in (method, dataset):
    add(app, _command.__name__, _command, "new")
