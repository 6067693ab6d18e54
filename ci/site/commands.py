"""The reference of the command line, written from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from ovbench.cli.app import app


def page() -> str:
    """All commands, in Markdown."""
    root = get_command(app)
    context = root.make_context("ovbench", [], resilient_parsing=True)
    return "\n".join(_section(*found) for found in walk(root, context))


def walk(command: Any, context: Any) -> Iterator[tuple[Any, Any]]:
    """A command and all below it, each with its context."""
    yield command, context
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        below = command.get_command(context, name)
        yield from walk(below, type(context)(below, info_name=name, parent=context))


def _section(command: Any, context: Any) -> str:
    usage = " ".join(command.collect_usage_pieces(context))
    parts = [f"## {context.command_path}", command.help]
    parts.append(f"```\n{context.command_path} {usage}\n```")
    panels: dict[str, list[str]] = {}
    for param in command.get_params(context):
        panel = getattr(param, "rich_help_panel", None)
        kind = "Arguments" if param.param_type_name == "argument" else "Options"
        record = param.get_help_record(context)
        if record and "--help" not in param.opts:
            panels.setdefault(panel or kind, []).append(_row(*record))
    for panel, rows in panels.items():
        parts.append("\n".join([f"| {panel} | |", "| --- | --- |", *rows]))
    if command.epilog:
        title, _, example = command.epilog.partition(": ")
        parts.append(f"{title}:\n\n```\n{example}\n```")
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _row(names: str, words: str) -> str:
    return f"| `{names}` | {' '.join(words.split()).replace('<', '&lt;')} |"
