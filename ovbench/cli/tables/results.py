"""``ovbench results``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ovbench.cli.shared import options as opt
from ovbench.cli.shared.command import Group, add

app = typer.Typer(
    cls=Group, help="Pool results with others, in a repository of files.", no_args_is_help=True
)
CHECK_FAILED = 3


def add_(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Run directories, or folders of them.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The folder of all results.")
    ] = Path("results"),
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace another measurement of the same run.")
    ] = False,
) -> None:
    """Put the results of whole runs into DIR/<method>/<benchmark>/<id>.json, with their identity.

    A run whose records give other numbers than its result is refused.
    """
    from ovbench.cli.progress.working import counted, work_shown
    from ovbench.cli.shared.console import say
    from ovbench.harness.results.rescore import find_runs
    from ovbench.leaderboards.sharing.pool import add as put

    stores = find_runs(runs)
    with work_shown(), counted("add results", len(stores)) as done:
        for count, store in enumerate(stores, start=1):
            path, written = put(store, output, replace=replace)
            say(path if written else f"{path}: there already")
            done(count)


def check(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder of all results.")
    ] = Path("results"),
    as_json: opt.AsJson = False,
) -> None:
    """Hold every result in a folder against its schema, its run's identity and its own numbers.

    Exit code 3 where one is damaged, incomplete, changed, of another run or in another's place.
    """
    from ovbench.cli.progress.working import counted, work_shown
    from ovbench.cli.shared.console import say, say_json
    from ovbench.leaderboards.sharing import pool

    files = pool.files_of(folder)
    found: list[pool.Problem] = []
    with work_shown(), counted("check results", len(files)) as done:
        for count, path in enumerate(files, start=1):
            found += pool.check(path, folder)
            done(count)
    bad = len({problem.path for problem in found})
    if as_json:
        rows = [{"path": str(one.path), "problem": one.words} for one in found]
        say_json({"passed": not found, "files": len(files), "problems": rows})
    else:
        for problem in found:
            say(problem)
        say(f"FAILED: {bad} of {len(files)} files" if found else f"passed: {len(files)} files")
    if found:
        raise typer.Exit(CHECK_FAILED)


add(app, "add", add_, "results")
add(app, "check", check, "results")
