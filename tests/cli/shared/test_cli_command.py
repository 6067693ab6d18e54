"""Help: every option in a panel and with one kind of metavar, an example that can be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from in_process import ovbench
from typer.main import get_command

from ovbench.cli.app import app
from ovbench.cli.shared.command import EXAMPLES


def commands(group: Any, words: str = "") -> Iterator[tuple[str, Any]]:
    """Every group and command below a group, by the words that call it."""
    for name, command in group.commands.items():
        path = f"{words} {name}".strip()
        yield path, command
        if hasattr(command, "commands"):
            yield from commands(command, path)


TREE = dict(commands(get_command(app)))
GROUPS = {words: command for words, command in TREE.items() if hasattr(command, "commands")}
COMMANDS = {words: command for words, command in TREE.items() if words not in GROUPS}


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


def test_every_word_of_help_is_of_one_style() -> None:
    tree = [("", get_command(app)), *GROUPS.items(), *COMMANDS.items()]
    for words, command in tree:
        context = command.make_context(words, [], resilient_parsing=True)
        for param in command.get_params(context):
            shown = param.display_type_rich(context) or ""
            assert not set(shown) & set("<>[]"), (words, param.name, shown)
            if param.param_type_name == "argument":
                assert re.fullmatch(r"[A-Z_]+", param.metavar), (words, param.metavar)
            elif param.is_flag:
                assert not shown, (words, param.name)
        assert "<" not in command.get_usage(context)


def test_without_words_there_is_help() -> None:
    for words in ([], ["datasets"], ["support"]):
        done = ovbench(*words)
        assert "Usage: " in done.stdout + done.stderr
        assert "<bool>" not in done.stdout
        assert "error" not in done.stderr


def test_help_shows_switches_without_a_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    shown = ovbench("leaderboard", "--help").stdout
    assert "<bool>" not in shown
    assert "─ What is shown ─" in shown
    assert " --average " in shown
    assert " markdown|html|latex|csv|json " in shown
    assert "Example: ovbench leaderboard runs/ --format latex" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run"], "Missing option '--method'"),
        (["run", "-m", "a", "-d", "b", "--limit", "0"], "'--limit'"),
        (["run", "-m", "a", "-d", "b", "--background", "\x1b[2J"], "'--background'"),
        (["run", "-m", "a", "-d", "b", "--me\x1b[31mthod", "c"], r"--me\x1b[31mthod"),
        (["run", "extra"], "Missing option '--method'"),
        (["export", "runs"], "Missing option '--to'. Choose from"),
        (["compare", "one"], "Missing argument"),
        (["datasets", "verfy"], "No such command 'verfy'. Did you mean 'verify'?"),
        (["--versio"], "No such option: --versio"),
        (["list", "--jso"], "No such option: --jso"),
        (["lederboard"], "No such command 'lederboard'. Did you mean 'leaderboard'?"),
        (["support", "show", "cat", "--count", "many"], "'--count'"),
    ],
)
def test_words_that_cannot_be_read_are_one_line(words: list[str], message: str) -> None:
    done = ovbench(*words)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert line.endswith(" --help`")
