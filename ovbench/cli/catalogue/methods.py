"""``ovbench list methods``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from ovbench.cli.catalogue.rows import Row, all_rows, row_of
from ovbench.cli.shared import options as opt
from ovbench.cli.shared.console import document, say, say_json, show, styled
from ovbench.errors import UsageError
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.settings import SettingInfo, describe
from ovbench.harness.registry.glance import refuse_missing_packages
from ovbench.harness.registry.names import METHODS

_HEADINGS = ("method", "paper", "kind", "made of", "licence of code", "of weights", "presets")


def methods(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show this method's card and settings.")
    ] = None,
    as_json: opt.AsJson = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the table as Markdown.")
    ] = False,
) -> None:
    """List the methods to choose from, or one method's card, settings and presets.

    The table says what each is made of, under which licences its code and its default weights
    are, and whether these are on this machine. "rows of tables" are presets, too.
    """
    if markdown and (as_json or name is not None):
        raise UsageError("--markdown goes with the list of all methods alone, without --json")
    if name is not None:
        _one(name, as_json)
    elif as_json:
        say_json([row.content() for row in all_rows()])
    elif markdown:
        document(to_markdown(all_rows()))
    else:
        show(methods_table(all_rows()))


def to_markdown(rows: Sequence[Row]) -> str:
    """The methods as a table for GitHub, without which weights are on this machine."""
    from ovbench.leaderboards.formats.markdown import escaped

    lines = ["| " + " | ".join(_HEADINGS) + " |", "|" + " --- |" * len(_HEADINGS)]
    for row in rows:
        words = (
            *(row.origin, row.kind, row.made_of),
            *(row.code_licence, row.weights_licence, row.chosen_presets),
        )
        name = escaped(row.name)
        first = f"`{name}`" if name == row.name else name
        lines.append(f"| {' | '.join([first, *map(escaped, words)])} |")
    return "\n".join(lines) + "\n"


def methods_table(rows: Sequence[Row]) -> Table:
    """The methods as a table."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("method, paper", overflow="fold")
    table.add_column("kind, made of", overflow="fold")
    table.add_column("weights")
    table.add_column("licence of code, weights", overflow="fold")
    table.add_column("presets", overflow="fold")
    for row in rows:
        table.add_row(
            _lines(styled(row.name, "bold"), row.origin),
            _lines(row.kind, row.made_of),
            row.here,
            _lines(row.code_licence or (row.weights_licence and "–"), row.weights_licence),
            row.chosen_presets,
        )
    return table


def _lines(*lines: str | Text) -> Text:
    """The lines of a cell."""
    return Text("\n").join(styled(x, "") if isinstance(x, str) else x for x in lines if x)


def _one(name: str, as_json: bool) -> None:
    from ovbench.harness.registry.presets import published_rows, varying_settings

    row = row_of(name)
    refuse_missing_packages(name)
    method = METHODS.load(name)
    settings, presets = describe(method.Settings), getattr(method, "presets", {})
    rows = published_rows(method)
    if as_json:
        content = {
            "settings": [asdict(item) for item in settings],
            "presets": presets,
            "published": [_content(row) for row in rows],
        }
        say_json({**row.content(), **content})
        return
    say(f"{name}: {row.summary}")
    show(_card(row))
    _show_settings(name, settings, presets)
    if rows:
        show(_published(rows, varying_settings(method)))


def _content(row: Published) -> dict[str, Any]:
    """JSON-ready, whatever kind of mapping the settings are."""
    return {field.name: getattr(row, field.name) for field in fields(row)} | {
        "settings": dict(row.settings)
    }


def _card(row: Row) -> Table:
    """All that is known before the method is imported."""
    from ovbench.models.weights.catalogue import size_in_words

    table = Table(show_header=False, box=None)
    card = row.card
    if card:
        table.add_row("paper", row.paper or "none")
        table.add_row("kind", card.kind)
        table.add_row("made of", row.made_of or "no model")
        table.add_row("code", row.code_licence or "no licence known")
        for weight in row.weights:
            licence = weight.licence or "no licence known"
            size = size_in_words(weight.bytes)
            table.add_row("weights", f"{weight.name}, {size}, {licence}, {weight.state}")
        memory = "not measured" if card.gpu_gib is None else f"{card.gpu_gib:g} GiB"
        table.add_row("GPU memory", memory)
    if row.needs_exemplars:
        table.add_row("needs", "a prompt picture of every class")
    if card and card.packages:
        table.add_row("packages", ", ".join(card.packages))
    table.add_row("package", row.package)
    return table


def _show_settings(
    name: str, settings: Sequence[SettingInfo], presets: Mapping[str, Mapping[str, Any]]
) -> None:
    table = Table(title=f"Settings of {name}", title_justify="left")
    for heading in ("setting", "type", "default", "meaning", "source"):
        table.add_column(heading, overflow="fold")
    for item in settings:
        default = (
            ",".join(map(str, item.default)) if isinstance(item.default, tuple) else item.default
        )
        table.add_row(item.name, item.type, str(default), item.help, item.source)
    show(table)
    for preset, values in presets.items():
        changes = ", ".join(f"{k}={v}" for k, v in values.items()) or "the defaults"
        say(f"--preset {preset}: {changes}")


def _published(rows: Sequence[Published], varying: Sequence[str]) -> Table:
    """What --preset published sets, benchmark by benchmark."""
    tuned = f"{', '.join(varying)} by benchmark" if varying else "the same for all benchmarks"
    table = Table(title=f"--preset published: {tuned}", title_justify="left")
    for heading in ("dataset", "background", "settings", "names", "source"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        values = ", ".join(f"{k}={v}" for k, v in row.settings.items()) or "the defaults"
        table.add_row(row.dataset, row.background, values, row.names or "plain", row.source)
    return table
