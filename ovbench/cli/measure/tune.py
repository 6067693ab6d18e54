"""``ovbench tune``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ovbench.cli.shared import options as opt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rich.table import Table


def tune(
    method: opt.MethodName,
    dataset: opt.DatasetName,
    root: opt.Root = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Default: train, where there is one.")
    ] = None,
    background: opt.Background = None,
    names: opt.Names = None,
    variant: opt.Variant = None,
    checkpoints: opt.Checkpoints = "auto",
    preset: opt.Preset = None,
    settings_file: opt.SettingsFile = None,
    settings: opt.Set = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Only the first N images.")] = 100,
    trials: Annotated[
        int, typer.Option("--trials", min=0, help="Per phase; 0 tries every combination.")
    ] = 34,
    device: opt.Device = "auto",
    precision: opt.Precision = "fp32",
    batch_size: opt.BatchSize = 1,
    seed: opt.Seed = 0,
    output: opt.Output = None,
    as_json: opt.AsJson = False,
) -> None:
    """Search a method's settings; the same command finishes a search that was cut short.

    Only the images and the names of the classes in them are used, never a pixel's label. What
    --set gives stays as it is; a preset or a settings file is where the search starts from.
    """
    from ovbench.cli.progress.search import observer
    from ovbench.cli.shared.console import say, say_json, show, tell
    from ovbench.datasets.derived.training import load_for_tuning
    from ovbench.harness.contract.published import PUBLISHED
    from ovbench.harness.contract.settings import parse_assignments
    from ovbench.harness.registry.settings_file import given_settings, read_tuning
    from ovbench.harness.registry.tuners import load_tuner
    from ovbench.harness.tune.search import Options, Search

    given = given_settings(settings_file, method, settings)
    before = read_tuning(settings_file, method)
    data = load_for_tuning(
        dataset,
        root=root,
        split=split,
        background=background,
        names=names,
        variant=variant,
        names_of=[method] if preset == PUBLISHED else (),
    )
    if split is None and data.info.split != "train":
        tell(
            f"note: {data.info.name} has no split train; what is tuned on {data.info.split} and "
            "measured on it is marked in every table"
        )
    tunable = load_tuner(
        method,
        preset=preset,
        benchmark=data.info,
        settings=given,
        tuning=before,
        fixed=parse_assignments(settings or []),
        device=device,
        precision=precision,
        checkpoints=opt.flavour(checkpoints, data.info),
        seed=seed,
    )
    with observer(f"tuning {method} on {dataset}") as watching:
        search = Search(tunable, data, Options(trials or None, limit, batch_size), watching)
        directory = output or search.directory()
        found = search.execute(directory)
    if as_json:
        say_json(found)
        return
    show(_table(found))
    path = directory / "settings.json"
    row = tunable.subject.published or {}
    conditions = {
        "--dataset": dataset,
        "--root": root,
        "--background": background,
        "--names": names or row.get("names"),
        "--variant": variant,
        "--checkpoints": None if checkpoints == "auto" else checkpoints,
        "--precision": None if precision == "fp32" else precision,
    }
    say(_next_command(method, conditions, path))


def _table(found: Mapping[str, Any]) -> Table:
    from rich.table import Table

    tuning = found["tuning"]
    title = (
        f"{found['method']} tuned on {tuning['num_examples']} images of "
        f"{tuning['dataset']} {tuning['split']}"
    )
    table = Table(title=title, title_justify="left")
    for heading in (
        "phase",
        "trials",
        "best values",
        "reward",
        "per class",
        "median",
        "tied with best",
    ):
        table.add_column(
            heading, justify="left" if heading in ("phase", "best values") else "right"
        )
    for phase in tuning["phases"]:
        table.add_row(
            phase["name"],
            str(phase["trials"]),
            ", ".join(f"{name}={value}" for name, value in phase["values"].items()),
            f"{phase['reward']:g}",
            f"{phase['reward_per_class']:.3f}",
            f"{phase['median_reward']:g}",
            str(phase["ties"]),
        )
    return table


def _next_command(method: str, conditions: Mapping[str, str | Path | None], path: Path) -> str:
    """The run that uses what was found."""
    import shlex

    words = ["ovbench", "run", "--method", method]
    for option, value in conditions.items():
        if value is not None:
            words += [option, str(value)]
    return shlex.join([*words, "--settings", str(path)])
