"""``ovbench suite``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ovbench.cli.shared import completion
from ovbench.cli.shared import options as opt

if TYPE_CHECKING:
    from ovbench.harness.suite.ledger import Ledger
    from ovbench.harness.suite.measuring import Errand
    from ovbench.harness.suite.prospects import Prospect
    from ovbench.harness.suite.slurm import Slurm
    from ovbench.harness.suite.suite_file import Suite


def suite(
    file: Annotated[
        str,
        typer.Argument(
            metavar="SUITE",
            help="A file in YAML, or what comes with ovbench: demo, seed-papers, "
            "training-free-2026, image-prompted.",
            autocompletion=completion.suites,
        ),
    ],
    root: opt.Root = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show what is done, what is missing and what is to come."),
    ] = False,
    try_images: Annotated[
        int | None,
        typer.Option(
            "--try",
            min=1,
            metavar="N",
            help="With --dry-run: measure N images first of what no finished run tells of, for the "
            "estimates.",
        ),
    ] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Fetch every weight that is missing; measure nothing.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Start again what failed before.")
    ] = False,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh", help="Measure again what was measured with other code, labels or values."
        ),
    ] = False,
    device: opt.Device = "auto",
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=1,
            help="Runs at a time; default: one on each GPU, on a CPU one, on Slurm all.",
        ),
    ] = None,
    executor: Annotated[
        Literal["local", "slurm"],
        typer.Option(
            "--executor", help="Measure on this machine, or as an array of jobs of a Slurm cluster."
        ),
    ] = "local",
    time_limit: Annotated[
        str | None,
        typer.Option(
            "--time-limit",
            metavar="TIME",
            help="Slurm: of a job, as sbatch takes it; default 4:00:00. Then it is put back "
            "into the queue and goes on.",
        ),
    ] = None,
    nodes: Annotated[
        int | None,
        typer.Option("--nodes", min=1, help="Slurm: nodes that share one run; default 1."),
    ] = None,
    gpus_per_node: Annotated[
        int | None,
        typer.Option(
            "--gpus-per-node",
            min=1,
            help="Slurm: GPUs of a run on each node, through torchrun; default 1, on a CPU none.",
        ),
    ] = None,
    sbatch: Annotated[
        list[str] | None,
        typer.Option(
            "--sbatch",
            metavar="NAME=VALUE",
            help="Slurm: an option of sbatch, such as partition=long; give it again for more.",
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Slurm: submit, and do not wait for the end.")
    ] = False,
    lines: Annotated[
        Literal["torchrun", "sbatch"] | None,
        typer.Option("--lines", help="Start nothing: print a command for each run that is left."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder of the runs; default runs/<suite>."
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress: only the table, and what failed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print --dry-run as JSON.")] = False,
) -> None:
    """Measure methods × benchmarks × presets × names × seeds, each a run like any other.

    The same command goes on where a suite was cut short: what is done is not measured again, and
    what failed is listed and stops nothing else. It ends with the leaderboard.
    """
    from ovbench.cli.shared.cluster import on_slurm, refuse_slurm_options
    from ovbench.cli.shared.console import say, tell
    from ovbench.errors import UsageError
    from ovbench.harness.files.alone import alone_in
    from ovbench.harness.suite.executors import Lines
    from ovbench.harness.suite.ledger import Ledger
    from ovbench.harness.suite.measuring import Errand
    from ovbench.harness.suite.prospects import Prospects
    from ovbench.harness.suite.shelf import suite_path
    from ovbench.harness.suite.suite_file import read_suite

    for option, value in {"--json": as_json, "--try": try_images}.items():
        if value and not dry_run:
            raise UsageError(f"{option} goes with --dry-run")
    given_to_slurm = {
        "--time-limit": time_limit,
        "--nodes": nodes,
        "--gpus-per-node": gpus_per_node,
        "--sbatch": sbatch,
        "--detach": detach or None,
    }
    if executor != "slurm":
        refuse_slurm_options(given_to_slurm)
    asked = read_suite(suite_path(file))
    folder = output or Path("runs") / asked.name
    ledger = Ledger.open(folder, asked.name, [run.name for run in asked.runs])
    look = Prospects(folder, root)
    prospects = [look.of(run) for run in asked.runs]
    errand = Errand(folder, root, device, fresh, retry_failed)
    given = {"--root": root, "--output": output}
    words = [word for pair in given.items() if pair[1] is not None for word in map(str, pair)]
    again = shlex.join(["ovbench", "suite", file, *words])
    if fetch:
        from ovbench.cli.progress.fetching import fetch_all
        from ovbench.harness.suite.missing import missing_weights

        lacking = [need.name for need in missing_weights(prospects) if need.item is not None]
        fetch_all(lacking)
        if not lacking:
            say("no checkpoint is missing")
    elif dry_run:
        from ovbench.cli.shared.grid import show_grid

        if try_images:
            with alone_in(folder):
                _try(prospects, ledger, errand, try_images)
        show_grid(asked, prospects, ledger, again, as_json=as_json)
    elif lines is not None:
        left = errand.jobs(prospects, ledger)
        for _ in Lines(lines, say).execute(left, lambda _jobs: None):
            pass
    else:
        cluster = None
        if executor == "slurm":
            cluster = on_slurm(ledger, device, jobs, given_to_slurm, tell)
        with alone_in(folder):
            _measure(asked, prospects, ledger, errand, jobs, cluster, quiet, again)


def _try(prospects: Sequence[Prospect], ledger: Ledger, errand: Errand, images: int) -> None:
    """Measure a few images of each kind of run of which nothing tells, for the estimates."""
    from ovbench.cli.shared.console import tell
    from ovbench.harness.suite.estimates import Experience, duration
    from ovbench.harness.suite.local import Local, slots
    from ovbench.harness.suite.trying import try_out

    executor = Local(slots(errand.device, None)[:1])  # alone, as its times are meant
    for ended in try_out(Experience(errand.folder, prospects, ledger), images, executor, errand):
        took = f"in {duration(ended.seconds)}"
        tell(f"{ended.job.name}: tried {took if ended.failure is None else ended.failure}")


def _measure(
    asked: Suite,
    prospects: Sequence[Prospect],
    ledger: Ledger,
    errand: Errand,
    at_once: int | None,
    cluster: Slurm | None,
    quiet: bool,
    again: str,
) -> None:
    from ovbench.cli.progress.suite import observer
    from ovbench.cli.shared.console import document, tell
    from ovbench.cli.shared.grid import reasons, weights_line
    from ovbench.errors import OvbenchError
    from ovbench.harness.suite.estimates import Estimate, Experience, estimates
    from ovbench.harness.suite.executors import Executor
    from ovbench.harness.suite.local import Local, free_bytes, slots
    from ovbench.harness.suite.measuring import measure
    from ovbench.harness.suite.missing import missing_weights
    from ovbench.leaderboards.formats.publish import publish
    from ovbench.leaderboards.tables.table import find_results

    jobs = errand.jobs(prospects, ledger)
    for line in [*reasons(prospects, ledger), *weights_line(missing_weights(prospects), again)]:
        tell(line)
    experience = Experience(errand.folder, prospects, ledger)
    known = estimates(experience)
    expected = {job.name: known.get(job.name, Estimate()) for job in jobs}
    done = sum(one.state == "done" for one in prospects)
    there = sum(one.state != "left out" for one in prospects)
    if cluster is None:
        places = slots(errand.device, at_once)
        executor: Executor = Local(places, experience.gpu, free_bytes)
        at_once = len(places)
    else:
        executor, at_once = cluster, min(at_once or len(jobs), len(jobs)) or 1
    with observer(asked.name, there, done, expected, at_once, quiet=quiet) as watching:
        try:
            failed = measure(jobs, executor, ledger, watching)
        except KeyboardInterrupt:
            if cluster is not None:
                tell(
                    f"jobs go on: `ovbench status {shlex.quote(str(errand.folder))}` tells how far"
                )
            raise
    if cluster is not None and not cluster.wait:
        return
    measured = {job.name for job in jobs} - set(failed)
    whole = [
        errand.folder / one.run.name / "result.json"
        for one in prospects
        if one.state == "done" or one.run.name in measured
    ]
    if whole:
        document(publish(find_results(whole), "markdown"))
    if len(whole) < there:
        again_failed = any(
            one.run.name in ledger.failures for one in prospects if one.state != "done"
        )
        raise OvbenchError(
            f"{there - len(whole)} of {there} runs are not done; `{again} --dry-run` says why"
            + (", --retry-failed starts again what failed" if again_failed else "")
        )
