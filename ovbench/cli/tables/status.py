"""``ovbench status``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovbench.cli.shared import options as opt

if TYPE_CHECKING:
    from ovbench.harness.run.standing import Standing
    from ovbench.harness.suite.ledger import Ledger


def status(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR", help="Run directories, suites, or folders of them."),
    ],
    as_json: opt.AsJson = False,
) -> None:
    """Say how far runs are, from what they have written, wherever they are measured.

    What is done, what is being measured and how long it may still take, which process of a run is
    slow, and of a suite what has not begun and what failed.
    """
    from ovbench.cli.shared.console import say, say_json, show
    from ovbench.errors import UsageError
    from ovbench.harness.results.store import files_below
    from ovbench.harness.run.standing import standing
    from ovbench.harness.suite.ledger import FILE, Ledger

    runs: dict[Path, Standing] = {}
    suites: dict[Path, Ledger] = {}
    wrong: list[str] = []
    for folder in folders:
        paths = [path.parent for path in files_below(folder, "run.json")]
        homes = [path.parent for path in files_below(folder, FILE)]
        if not paths and not homes:
            raise UsageError(f"{folder}: no run here; a run directory holds run.json")
        for path in paths:
            with _noting(wrong, path / "run.json"):
                runs[path] = standing(path)
        for path in homes:
            with _noting(wrong, path / FILE):
                if (ledger := Ledger.read(path)) is not None:
                    suites[path] = ledger
    clock = time.time()
    if as_json:
        say_json(
            {
                "runs": [_content(run, clock) for run in runs.values()],
                "suites": [_of_suite(path, one, runs, clock) for path, one in suites.items()],
            }
        )
    else:
        show(_table(list(runs.values()), clock))
        for path, one in suites.items():
            content = _of_suite(path, one, runs, clock)
            states = ", ".join(f"{count} {state}" for state, count in content["states"].items())
            say(f"suite {one.suite} in {path}: {states}")
            for name, why in content["failures"].items():
                say(f"  {name} failed: {why}")
    if wrong:
        more = f" (and {len(wrong) - 1} more cannot be read)" if wrong[1:] else ""
        raise UsageError(f"{wrong[0]}{more}")


@contextmanager
def _noting(wrong: list[str], file: Path) -> Iterator[None]:
    """What is damaged is told at the end: it hides nothing of the others."""
    from ovbench.errors import UsageError

    try:
        yield
    except UsageError as error:
        if os.path.lexists(file):  # who fails before its first record takes its run away
            wrong.append(str(error))


def _table(runs: list[Standing], clock: float) -> Any:
    from rich import box
    from rich.table import Table

    from ovbench.cli.shared.console import styled
    from ovbench.harness.suite.estimates import duration
    from ovbench.leaderboards.tables.numbers import percent, seconds

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("run", overflow="fold")
    table.add_column("state")
    for heading in ("images", "s/image", "left", "last record", "mIoU"):
        table.add_column(heading, justify="right")
    table.add_column("slow")
    for run in runs:
        state, slow, left = run.state(clock), run.slow, run.left_s
        paces = [rank.pace_s for rank in run.ranks if rank.pace_s is not None]
        open_ = state != "done"
        table.add_row(
            styled(str(run.path), ""),
            state,
            str(run.total) if not open_ else f"{run.images} of {run.total}",
            seconds(sum(paces) / len(paces)) if paces and open_ else "",
            ("unknown" if left is None else duration(left)) if state == "measuring" else "",
            f"{duration(max(0.0, clock - run.last))} ago" if open_ else "",
            "" if open_ and run.miou is None else percent(run.miou),
            f"rank {slow.rank}: {seconds(slow.pace_s)} s/image" if slow and open_ else "",
        )
    return table


def _content(run: Standing, clock: float) -> dict[str, Any]:
    return {
        "path": str(run.path),
        "method": run.method,
        "dataset": run.dataset,
        "state": run.state(clock),
        "images": run.images,
        "total": run.total,
        "left_s": run.left_s,
        "silent_s": max(0.0, clock - run.last),
        "miou": run.miou,
        "ranks": [
            {"rank": rank.rank, "images": rank.images, "pace_s": rank.pace_s} for rank in run.ranks
        ],
        "slow_rank": run.slow and run.slow.rank,
    }


def _of_suite(
    folder: Path, ledger: Ledger, runs: dict[Path, Standing], clock: float
) -> dict[str, Any]:
    """How many runs of a suite are in which state."""
    failures = {}
    counts: dict[str, int] = {}
    for name in ledger.runs:
        run = runs.get(folder / name)
        submitted = name in ledger.jobs
        state = ("submitted" if submitted else "not begun") if run is None else run.state(clock)
        if state != "done" and name in ledger.failures:
            failures[name], state = ledger.failures[name], "failed"
        counts[state] = counts.get(state, 0) + 1
    return {"suite": ledger.suite, "folder": str(folder), "states": counts, "failures": failures}
