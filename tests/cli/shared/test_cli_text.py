"""What users name things is text to every command, on every terminal."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from in_process import ovbench
from nasty import CASES, names
from results import result
from rich.table import Table

from ovbench.cli import main
from ovbench.cli.progress import run as progress
from ovbench.cli.progress import working
from ovbench.cli.progress.run import steps
from ovbench.cli.progress.working import counted, work_shown
from ovbench.cli.shared.console import bars_fit, document, say, say_json, show, styled
from ovbench.cli.shared.show import show_result
from ovbench.errors import OvbenchError
from ovbench.harness.files.json_files import sealed

NASTY = ("cat [/indoor]", "cat [indoor]", ":cat:", "[bold]x[/bold]", "a\x1b[31mb", "\u202eevil\nx")
SHOWN = (*NASTY[:4], r"a\x1b[31mb", r"\u202eevil\nx")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose method has one of the names, and whose classes have all of them."""
    found = result(NASTY[0], 12.345, id="0123")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps(sealed(found)))
    return folder


def test_a_table_prints_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(NASTY[0], title=NASTY[3])
    for name in NASTY:
        table.add_row(name)
    show(table)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    for shown in SHOWN:
        assert f" {shown} " in out


def test_lines_and_json_do_nothing_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    content = {name: [name] for name in (*NASTY, "\x9b2J", "\U000e0001", "half \udcff", "café")}
    for name in NASTY:
        say(name)
    assert capsys.readouterr().out.splitlines() == list(SHOWN)
    say_json(content)
    out = capsys.readouterr().out
    assert json.loads(out) == content
    assert not set(out) & {"\x1b", "\x9b", "\u202e", "\U000e0001", "\udcff"}
    assert "café" in out


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_prints_names_as_they_are(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    for name in NASTY:
        with steps(name, "images", log_every_s=0) as shown:
            shown.started(1, 2)
            shown.advance(name)
    for shown_name in SHOWN:
        assert stderr.getvalue().count(shown_name) >= 2
    assert "\u202e" not in stderr.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_what_takes_time_to_say_is_said_when_it_is_shown(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    said: list[int] = []

    def note() -> str:
        said.append(1)
        return f"note {len(said)}"

    with steps("run", "images") as shown:
        shown.started(1000, 1000)
        for _ in range(1000):
            shown.advance(note)
    # A bar shows the last one; a log had no line due.
    assert len(said) < 500
    assert ("1000/1000" in stderr.getvalue()) == terminal
    assert (f"note {len(said)}" in stderr.getvalue()) == terminal


def test_an_error_is_one_line_whatever_it_quotes() -> None:
    for name in NASTY:
        done = ovbench("run", "--method", name, "--dataset", "toyworld")
        assert done.returncode == 2
        assert done.stderr.startswith("error: no method ")
        assert done.stderr.count("\n") == 1
        assert "\x1b" not in done.stderr


def test_bars_are_for_terminals_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a file there are lines; and a result that goes to a file does not go to the bars."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", log := io.StringIO())
    assert not bars_fit()
    with work_shown(), counted("verify", 3) as done:
        done(2)
        done(3)
    assert log.getvalue() == "verify: 3 to do\n"  # done before another line was due
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert bars_fit()
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    with work_shown(), counted("verify", 3) as done:
        print("the result")
        done(3)
    assert out.getvalue() == "the result\n"
    assert "3/3" in sys.stderr.getvalue()  # type: ignore[attr-defined]
    monkeypatch.setenv("TERM", "dumb")
    assert not bars_fit()


class Full(io.StringIO):
    """A file on a disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_stdout_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(OvbenchError, match=r"stdout cannot be written \(No space left"):
        document("x")
    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(SystemExit) as stopped:
        say("x")
    assert stopped.value.code == 141


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_that_has_few_characters(
    run: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = json.loads((run / "result.json").read_text())
    found["run"]["method"] = "猫 Δ"
    (run / "result.json").write_text(json.dumps(sealed(found)))
    for words in (["leaderboard", str(run)], ["list", "methods", "pnp_ovss"],
                  ["run", "-m", "猫", "-d", "toyworld"]):  # fmt: skip
        streams = [io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2)]
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])
        monkeypatch.setattr(sys, "argv", ["ovbench", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        monkeypatch.undo()
        assert (ended.value.code or 0) == (2 if words[0] == "run" else 0)
        out, err = (stream.buffer.getvalue().decode(encoding) for stream in streams)
        assert out or err.startswith(r"error: no method '\u732b'")
        if words[0] == "leaderboard":
            assert r"\u732b" in out
            assert "11.35-13.35" in out or encoding == "cp1252"


def test_results_with_any_names_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "-m", "constant", "-d", "toyworld", "--limit", "1", "--device", "cpu"]
    found = json.loads(ovbench(*command, "--output", tmp_path / "run", "--json").stdout)
    profile = found["profile"]
    for case in range(CASES):
        given = names(case, 9)
        method, preset, setting, value, note, warning, stage, dataset, device = given
        found["run"] |= {"method": method, "preset": preset, "changes": {setting: value}}
        found["run"] |= {"notes": [note], "warnings": [warning], "dataset": dataset}
        found["run"]["device"] = device
        profile["stages"] = {stage: {"mean_s": 1.0, "share": 0.5}}
        for one, name in zip(found["per_class"], given, strict=False):
            one["name"] = name
        show_result(found, False, Path(dataset.replace("/", "_")))
        out = capsys.readouterr().out
        assert all(character.isprintable() or character == "\n" for character in out), case
        show_result(found, True, None)
        assert json.loads(capsys.readouterr().out) == found


def test_no_color_is_heeded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    for forbidden in (False, True):
        if forbidden:
            monkeypatch.setenv("NO_COLOR", "1")
        table = Table("name")
        table.add_row(styled("red", "red"))
        show(table)
        assert ("\x1b[31m" in capsys.readouterr().out) is not forbidden


@pytest.mark.parametrize("quiet", [False, True])
def test_loading_shows_that_it_goes_on_unless_it_is_to_be_quiet(
    quiet: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(working, "bars_fit", lambda: True)
    monkeypatch.setattr(progress, "bars_fit", lambda: True)
    command = ["run", "-m", "constant", "-d", "toyworld", "--limit", "1", "--device", "cpu"]
    done = ovbench(*command, "--output", tmp_path / "run", *(["--quiet"] if quiet else []))
    assert done.returncode == 0
    assert ("load constant" in done.stderr) is not quiet
