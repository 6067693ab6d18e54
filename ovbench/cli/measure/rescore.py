"""``ovbench rescore``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def rescore(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Run directories, or folders of them.")
    ],
    drop_bad: Annotated[
        bool,
        typer.Option("--drop-bad", help="First take damaged and foreign lines out of the records."),
    ] = False,
) -> None:
    """Compute results again from the records of their runs.

    For results of older versions, damaged ones and edited ones; nothing is measured. Lines that
    --drop-bad takes out are kept in records/dropped.jsonl; where images have no record any more,
    it says which command measures them.
    """
    from ovbench.cli.shared.console import say, tell
    from ovbench.errors import OvbenchError
    from ovbench.harness.results.rescore import UnfinishedError, find_runs, finish
    from ovbench.leaderboards.tables.numbers import percent

    worst = 0
    for store in find_runs(runs):
        try:
            for line in store.drop_bad() if drop_bad else ():
                say(f"dropped {line}")
            miou = finish(store)["metrics"]["miou"]
            say(f"{store.path / 'result.json'}: mIoU {percent(miou)}")
        except UnfinishedError as left:
            if drop_bad:  # the records are mended, which was asked for
                say(str(left))
            else:
                tell(f"error: {left}")
                worst = max(worst, left.exit_code)
        except OvbenchError as error:  # one that cannot be mended is in nobody's way
            tell(f"error: {error}")
            worst = max(worst, error.exit_code)
    if worst:
        raise typer.Exit(worst)
