"""``ovbench list [methods|datasets|checkpoints]``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.table import Table

from ovbench.cli import options as opt
from ovbench.cli.console import console
from ovbench.harness.registry import DATASETS, METHODS, Registry

app = typer.Typer(invoke_without_command=True)


@app.callback()
def everything(context: typer.Context) -> None:
    """What can be run: methods and datasets, built in and from other packages."""
    if context.invoked_subcommand is None:
        methods()
        datasets()


@app.command("methods")
def methods(
    name: Annotated[str | None, typer.Argument(help="Show this method's settings.")] = None,
) -> None:
    """List the methods, or one method's settings and presets with their sources."""
    if name is None:
        _show(METHODS, "method")
    else:
        _show_settings(name)


@app.command("datasets")
def datasets(
    name: Annotated[str | None, typer.Argument(help="Show what may be chosen of it.")] = None,
) -> None:
    """List the datasets, or one dataset's sets of class names, subsets and aliases."""
    if name is None:
        _show(DATASETS, "dataset")
    else:
        _show_choices(name)


@app.command("checkpoints")
def checkpoints(as_json: opt.AsJson = False) -> None:
    """List the checkpoints: the packaged miniatures, and what the methods download."""
    from ovbench.models.inventory import inventory

    items = inventory()
    if as_json:
        print(json.dumps([asdict(item) for item in items], indent=2, default=str))
        return
    table = Table("role", "checkpoint", "size", "licence")
    table.add_column("source, then the place on this machine if it is here", overflow="fold")
    for item in items:
        size = "" if item.bytes is None else decimal(item.bytes)
        place = "\n".join([item.source, *([str(item.path)] if item.path else [])])
        table.add_row(item.role, item.name, size, item.licence, place)
    console().print(table)


def _show(registry: Registry, kind: str) -> None:
    table = Table()
    for heading in (kind, "what", "package"):
        table.add_column(heading)
    for name, entry in registry.entries.items():
        table.add_row(name, entry.summary, entry.package)
    console().print(table)


def _show_choices(name: str) -> None:
    from ovbench.datasets import ALIASES
    from ovbench.datasets.names import available_sets, describe_set
    from ovbench.datasets.subsets import ONLY, SUBSETS, subset_names

    out = console()
    out.print(f"{name}: {DATASETS.entry(name).summary}", highlight=False)
    table = Table("--names", "queries", "source")
    for chosen in available_sets(name):
        queries, source = describe_set(name, chosen)
        table.add_row(chosen, str(queries), source)
    if table.row_count:
        out.print(table)
    for subset in subset_names(name):
        classes = ", ".join(SUBSETS[name][subset.removesuffix(ONLY)])
        asked = "these alone" if subset.endswith(ONLY) else "all names"
        out.print(f"--subset {subset}, asks for {asked}: {classes}", highlight=False)
    for alias, (benchmark, rule) in ALIASES.items():
        if benchmark == name:
            out.print(f"--dataset {alias}: {name} --background {rule}", highlight=False)


def _show_settings(name: str) -> None:
    from ovbench.harness.settings import describe

    method = METHODS.load(name)
    table = Table(title=f"Settings of {name}", title_justify="left")
    for heading in ("setting", "type", "default", "meaning", "source"):
        table.add_column(heading, overflow="fold")
    for item in describe(method.Settings):
        default = (
            ",".join(map(str, item.default)) if isinstance(item.default, tuple) else item.default
        )
        table.add_row(item.name, item.type, str(default), item.help, item.source)
    console().print(table)
    for preset, values in getattr(method, "presets", {}).items():
        changes = ", ".join(f"{k}={v}" for k, v in values.items()) or "the defaults"
        console().print(f"--preset {preset}: {changes}", highlight=False)
