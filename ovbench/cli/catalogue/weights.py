"""``ovbench weights``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from ovbench.cli.shared import completion
from ovbench.cli.shared import options as opt
from ovbench.cli.shared.command import Group, add
from ovbench.cli.shared.console import say, say_json, show, styled
from ovbench.harness.contract.card import Pick
from ovbench.harness.contract.settings import parse_assignments
from ovbench.harness.registry.glance import card_of
from ovbench.harness.registry.names import METHODS
from ovbench.harness.registry.picking import picks_of

if TYPE_CHECKING:
    from ovbench.models.weights.inventory import Item
    from ovbench.models.weights.needs import Need

app = typer.Typer(cls=Group, help="Look after the weights that methods load.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class _Row:
    """What a method can load, and what is known of it: None where nothing is."""

    need: Need
    item: Item | None

    def content(self) -> dict[str, Any]:
        item = self.item
        return {
            "checkpoint": self.need.checkpoint,
            "settings": dict(self.need.settings),
            "default": self.need.default,
            "files": item and item.files,
            "source": item and item.source,
            "by_hand": item and item.by_hand,
            "bytes": item and item.bytes,
            "licence": item and item.licence,
            "state": item and item.state,
            "into": item and str(item.into),
        }


def list_(
    method: Annotated[
        str | None,
        typer.Argument(
            metavar="METHOD",
            help="Show all that its settings can choose.",
            autocompletion=completion.methods,
        ),
    ] = None,
    as_json: opt.AsJson = False,
) -> None:
    """List what every method loads by default, or one method by any choice of its settings.

    Each with its size, its licence, and whether it is there, missing, or differs from what was
    published or first found.
    """
    names = METHODS.entries if method is None else [method]
    found = {name: _rows(name) for name in names}
    if as_json:
        content = [
            {"method": name, "weights": [row.content() for row in rows]}
            for name, rows in found.items()
        ]
        say_json(content if method is None else content[0])
    elif method is None:
        show(_overview(found))
    elif not found[method]:
        say(f"{method} loads no weights")
    else:
        show(_choices(found[method]))
        for row in found[method]:
            say(_place(row))


def fetch(
    method: opt.MethodArgument,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Fetch what this choice loads instead; see `ovbench weights list METHOD`.",
        ),
    ] = None,
) -> None:
    """Fetch what a method loads and is not on this machine; run again to go on.

    What no program can fetch is told with the page, the name of the file and where to put it; the
    exit code is 2 then.
    """
    from ovbench.cli.progress.fetching import fetch_all
    from ovbench.models.weights.needs import chosen

    asked = parse_assignments(settings or [])
    names = chosen(method, *_declared(method), asked)
    if not names:
        say(f"{method} loads no weights" + (" with these settings" if asked else ""))
    fetch_all(names)


def _declared(method: str) -> tuple[Sequence[str], Sequence[Pick]]:
    card = card_of(method)
    return (card.weights if card else ()), picks_of(method)


def _rows(method: str) -> list[_Row]:
    from ovbench.models.weights.inventory import item_of
    from ovbench.models.weights.needs import needs

    return [_Row(need, item_of(need.checkpoint)) for need in needs(*_declared(method))]


def _overview(found: dict[str, list[_Row]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("method")
    table.add_column("loads by default", overflow="fold")
    table.add_column("size", justify="right")
    table.add_column("licence", overflow="fold")
    table.add_column("state")
    for method, rows in found.items():
        for i, row in enumerate(row for row in rows if row.need.default):
            table.add_row("" if i else styled(method, "bold"), *_cells(row))
    return table


def _choices(rows: Sequence[_Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("checkpoint", overflow="fold")
    table.add_column("chosen by --set", overflow="fold")
    table.add_column("size", justify="right")
    table.add_column("licence", overflow="fold")
    table.add_column("state")
    for row in rows:
        lines = [f"{name}={value}" for name, value in row.need.settings.items()]
        lines += ["(default)"] if row.need.default else []
        name, *cells = _cells(row)
        table.add_row(name, Text("\n").join(styled(line, "") for line in lines), *cells)
    return table


def _cells(row: _Row) -> tuple[Text, str, str, str]:
    from ovbench.models.weights.catalogue import size_in_words

    item = row.item
    name = styled(row.need.checkpoint, "")
    if item is None:
        return name, "", "", "unknown"
    return name, size_in_words(item.bytes), item.licence or "licence unknown", item.state


def _place(row: _Row) -> str:
    item = row.item
    if item is None:
        return f"{row.need.checkpoint}: nothing is known of it"
    where = item.path or f"missing in {item.into}"
    hand = "by hand, " if item.by_hand else ""
    return f"{row.need.checkpoint}: {hand}{item.files} of {item.source}; {where}"


add(app, "list", list_, "weights")
add(app, "fetch", fetch, "weights")
