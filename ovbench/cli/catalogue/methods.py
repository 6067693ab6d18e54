"""``ovbench list methods``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from ovbench.cli.catalogue.described import Described, markdown_table, plain_table
from ovbench.cli.catalogue.rows import Row, all_rows
from ovbench.cli.shared import completion
from ovbench.cli.shared import options as opt
from ovbench.cli.shared.console import document, say, say_json, show, styled
from ovbench.errors import UsageError
from ovbench.harness.registry.left_out import LEFT_OUT, LeftOut

_LEFT_OUT_HEADINGS = ("left out", "system", "why", "source", "reported figures")
_HEADINGS = (
    "method",
    "paper",
    "kind",
    "made of",
    "trained with",
    "licence of code",
    "of weights",
    "presets",
)


def methods(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Show this method's card and settings.",
            autocompletion=completion.methods,
        ),
    ] = None,
    as_json: opt.AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print it as Markdown.")] = False,
    all_: Annotated[
        bool, typer.Option("--all", help="And the papers' systems that are left out, with reasons.")
    ] = False,
) -> None:
    """List the methods to choose from, or one method's card, settings and presets.

    The table says what each is made of, under which licences its code and its default weights
    are, and whether these are on this machine. "rows of tables" are presets, too.
    """
    if markdown and as_json:
        raise UsageError("give either --markdown or --json")
    if all_ and name is not None:
        raise UsageError(f"--all goes with the list of all methods; leave out {name!r}")
    if name is not None:
        _one(Described.of(name), as_json, markdown)
        return
    out = LEFT_OUT if all_ else ()
    if as_json:
        rows = [{**row.content(), "left_out": None} for row in all_rows()]
        systems = [{"name": one.name, "left_out": asdict(one)} for one in out]
        say_json([*rows, *systems])
    elif markdown:
        document(to_markdown(all_rows()))
        if out:
            document("\n" + markdown_table(_LEFT_OUT_HEADINGS, left_out_rows(out)))
    else:
        show(methods_table(all_rows()))
        if out:
            show(plain_table("", _LEFT_OUT_HEADINGS, left_out_rows(out)))


def to_markdown(rows: Sequence[Row]) -> str:
    """The methods as a table for GitHub, without which weights are on this machine."""
    cells = [
        (
            *(row.name, row.origin, row.kind, row.made_of),
            row.trained.words if row.trained else "",
            *(row.code_licence, row.weights_licence, row.chosen_presets),
        )
        for row in rows
    ]
    return markdown_table(_HEADINGS, cells)


def left_out_rows(systems: Sequence[LeftOut]) -> list[tuple[str, ...]]:
    """What is said of systems that are left out, by :data:`_LEFT_OUT_HEADINGS`."""
    return [
        (one.name, f"{one.title}, {one.paper} {one.year}", one.reason, one.source,
         ", ".join(one.reported) or "none")
        for one in systems
    ]  # fmt: skip


def methods_table(rows: Sequence[Row]) -> Table:
    """The methods as a table."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("method, paper", overflow="fold")
    table.add_column("kind, made of (trained with)", overflow="fold")
    table.add_column("weights")
    table.add_column("licence of code, weights", overflow="fold")
    table.add_column("presets", overflow="fold")
    for row in rows:
        words = row.trained.words if row.trained else ""
        trained = "" if words in ("", "nothing") else f"({words})"
        table.add_row(
            _lines(styled(row.name, "bold"), row.origin),
            _lines(row.kind, row.made_of, trained),
            row.here,
            _lines(row.code_licence or (row.weights_licence and "–"), row.weights_licence),
            row.chosen_presets,
        )
    return table


def _lines(*lines: str | Text) -> Text:
    """The lines of a cell."""
    return Text("\n").join(styled(x, "") if isinstance(x, str) else x for x in lines if x)


def _one(method: Described, as_json: bool, markdown: bool) -> None:
    if as_json:
        say_json(method.content())
    elif markdown:
        document(method.markdown())
    else:
        say(method.heading)
        for table in method.tables():
            show(table)
        for line in method.preset_lines():
            say(line)
