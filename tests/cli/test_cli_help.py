"""Help: every option in a panel and with one kind of metavar, an example that can be typed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from in_process import ovbench
from typer.main import get_command

from ovbench.cli.app import app
from ovbench.cli.help import EXAMPLES


def commands(group: Any, words: str = "") -> Iterator[tuple[str, Any]]:
    """Every command below a group, by the words that call it."""
    for name, command in group.commands.items():
        path = f"{words} {name}".strip()
        if hasattr(command, "commands"):
            yield from commands(command, path)
        else:
            yield path, command


COMMANDS = dict(commands(get_command(app)))


def test_every_command_has_an_example() -> None:
    assert set(COMMANDS) == set(EXAMPLES)


@pytest.mark.parametrize("words", COMMANDS)
def test_examples_parse_and_options_are_in_panels(words: str) -> None:
    command = COMMANDS[words]
    arguments = shlex.split(EXAMPLES[words])
    with command.make_context(words, list(arguments)) as context:
        assert context.params
        options = [p for p in command.get_params(context) if p.param_type_name == "option"]
    for option in options:
        if option.name != "help":
            assert option.rich_help_panel, option.name
        assert option.help, option.name
        assert "<" not in str(option.metavar)


def test_help_shows_switches_without_a_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    shown = ovbench("leaderboard", "--help").stdout
    assert "<bool>" not in shown
    assert "─ What is shown ─" in shown
    assert " --average " in shown
    assert " markdown|html|latex|csv|json " in shown
    assert "Example: ovbench leaderboard runs/ --format latex" in shown
