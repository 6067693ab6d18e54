"""``ovbench list [methods|datasets|checkpoints]``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from ovbench.cli.catalogue.methods import methods
from ovbench.cli.catalogue.rows import Row, all_rows
from ovbench.cli.shared import options as opt
from ovbench.cli.shared.command import Group, add
from ovbench.cli.shared.console import say, say_json, show, styled
from ovbench.harness.registry.names import DATASETS

app = typer.Typer(cls=Group, invoke_without_command=True)


@app.callback()
def everything(context: typer.Context, as_json: opt.AsJson = False) -> None:
    """What can be run: methods and datasets, built in and from other packages."""
    if context.invoked_subcommand is not None:
        return
    if as_json:
        say_json({"methods": [row.content() for row in all_rows()], "datasets": _datasets()})
    else:
        _show("method", [(r.name, _what(r), r.package) for r in all_rows()])
        _show_datasets()


def datasets(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show what may be chosen of it.")
    ] = None,
    as_json: opt.AsJson = False,
) -> None:
    """List the datasets, or one dataset's sets of class names, subsets and aliases."""
    if name is None:
        say_json(_datasets()) if as_json else _show_datasets()
        return
    choices = _choices(name)
    if as_json:
        say_json({**_entry(name), **choices})
    else:
        _show_choices(name, choices)


def checkpoints(as_json: opt.AsJson = False) -> None:
    """List the checkpoints: the packaged miniatures, and what the methods download."""
    from ovbench.models.weights.inventory import inventory

    items = inventory()
    if as_json:
        say_json([asdict(item) for item in items])
        return
    table = Table("role")
    table.add_column("checkpoint", no_wrap=True)  # what is copied into a command
    table.add_column("size")
    table.add_column("licence")
    table.add_column("source, then the place on this machine if it is here", overflow="fold")
    for item in items:
        size = "" if item.bytes is None else decimal(item.bytes)
        source = f"by hand from {item.source}" if item.by_hand else item.source
        differs = ", which differs" if item.state == "differs" else ""
        lines = [source, *([f"{item.path}{differs}"] if item.path else [])]
        place = Text("\n").join(styled(line, "") for line in lines)
        table.add_row(item.role, item.name, size, item.licence, place)
    show(table)


def _show(kind: str, rows: Iterable[tuple[str, str, str]]) -> None:
    table = Table(kind, "what", "package")
    for row in rows:
        table.add_row(*row)
    show(table)


def _what(row: Row) -> str:
    return f"{row.summary} ({row.lacking})" if row.lacking else row.summary


def _show_datasets() -> None:
    _show("dataset", [(name, e.summary, e.package) for name, e in DATASETS.entries.items()])


def _datasets() -> list[dict[str, str]]:
    return [_entry(name) for name in DATASETS.entries]


def _entry(name: str) -> dict[str, str]:
    entry = DATASETS.entry(name)
    return {"name": name, "summary": entry.summary, "package": entry.package}


def _choices(name: str) -> dict[str, Any]:
    """What may be chosen of a dataset."""
    from ovbench.datasets import ALIASES
    from ovbench.datasets.choosing.subsets import ONLY, SUBSETS, subset_names
    from ovbench.datasets.names.sets import available_sets, describe_set

    DATASETS.entry(name)
    sets = {chosen: describe_set(name, chosen) for chosen in available_sets(name)}
    return {
        "names": [{"name": n, "queries": q, "source": source} for n, (q, source) in sets.items()],
        "subsets": [
            {
                "name": subset,
                "asks_for": "these alone" if subset.endswith(ONLY) else "all names",
                "classes": list(SUBSETS[name][subset.removesuffix(ONLY)]),
            }
            for subset in subset_names(name)
        ],
        "aliases": {
            alias: f"{benchmark} --background {rule}"
            for alias, (benchmark, rule) in ALIASES.items()
            if benchmark == name
        },
    }


def _show_choices(name: str, choices: Mapping[str, Any]) -> None:
    say(f"{name}: {DATASETS.entry(name).summary}")
    table = Table("--names", "queries", "source")
    for one in choices["names"]:
        table.add_row(one["name"], str(one["queries"]), one["source"])
    if table.row_count:
        show(table)
    for one in choices["subsets"]:
        say(f"--subset {one['name']}, asks for {one['asks_for']}: {', '.join(one['classes'])}")
    for alias, meaning in choices["aliases"].items():
        say(f"--dataset {alias}: {meaning}")


for _command in (methods, datasets, checkpoints):
    add(app, _command.__name__, _command, "list")
