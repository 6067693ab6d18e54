"""The table of methods, in a terminal, as JSON and as Markdown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from in_process import ovbench
from rich.console import Console

from ovbench.cli.catalogue import rows as listed
from ovbench.cli.catalogue.methods import methods_table, to_markdown
from ovbench.cli.catalogue.rows import Row, all_rows
from ovbench.cli.shared.console import PlainConsole
from ovbench.cli.shared.fitting import fitted
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.registry.left_out import LEFT_OUT
from ovbench.harness.registry.names import METHODS

README = Path(__file__).resolve().parents[3] / "README.md"


@pytest.mark.parametrize("width", [40, 60, 79, 80, 120])
def test_every_word_fits(width: int) -> None:
    console = PlainConsole(width=width)
    with console.capture() as captured:
        console.print(fitted(methods_table(all_rows()), console))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= width
    for word in ("pnp_ovss", "CVPR", "training-free", "image-prompted", "BridgeTower", "missing",
                 "bsd-2-clause", "cvpr_code_context", "prompts_answer"):  # fmt: skip
        assert any(word in line for line in lines), word


def test_json_has_everything() -> None:
    found = {one["name"]: one for one in json.loads(ovbench("list", "methods", "--json").stdout)}
    assert set(found) >= {"pnp_ovss", "random"}
    persam = found["persam"]
    assert persam["paper"] == "Zhang et al., ICLR"
    assert (persam["year"], persam["kind"]) == (2024, "image-prompted")
    assert persam["needs_exemplars"] is True
    assert persam["code_licence"] == "mit"
    assert persam["presets"] == ["released_code"]
    assert persam["weights"] == [
        {
            "name": "sam/sam_vit_h",
            "licence": "apache-2.0",
            "bytes": 2_564_550_879,
            "here": False,
            "state": "missing",
        }
    ]
    assert found["random"]["weights"] == []


def test_one_method_shows_its_card_above_its_settings() -> None:
    shown = ovbench("list", "methods", "persam").stdout
    card, _, settings = shown.partition("Settings of persam")
    for word in ("PerSAM: one picture", "Zhang et al., ICLR 2024",
                 "sam/sam_vit_h, 2.6 GB, apache-2.0, missing",
                 "a prompt picture of every class", "not measured"):  # fmt: skip
        assert word in card
    assert "refinements" in settings
    assert "--preset released_code: the defaults" in settings


def test_weights_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    for file in ("sam_vit_h_4b8939.pth", "painter_vit_large.pth", "tcl.pth"):
        (folder / file).touch()
    here = {row.name: row.here for row in all_rows()}
    assert (here["painter"], here["tcl"], here["random"]) == ("here", "1 of 2", "")
    assert (here["persam"], here["matcher"]) == ("differs", "differs")  # SAM's digest is published
    assert here["maskclip"] == "missing"


def test_what_a_package_says_is_text_and_what_it_says_wrongly_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = MethodCard(summary="s", kind="floor", paper="[bold] | <b>", weights=("x/y",))
    row = Row("a|b", "s", "other", card, False, ())
    line = to_markdown([row]).splitlines()[-1]
    assert r"\[bold\] \| &#60;b&#62;" in line
    assert r"| a\|b |" in line
    assert "package other" in line
    assert row.here == "missing"
    assert "[bold]" in _shown([row])

    def broken(name: str) -> MethodCard:
        raise listed.UsageError(f"the card of {name}: no")

    monkeypatch.setattr(listed, "card_of", broken)
    assert all_rows()[0].summary == "the card of pnp_ovss: no"
    assert "the card of pnp_ovss: no" in ovbench("list").stdout
    without = all_rows()[0].content()
    assert (without["kind"], without["weights"]) == (None, [])


def test_a_method_that_lacks_a_package_is_marked_wherever_it_is_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = MethodCard(summary="s", kind="floor", packages=("numpy", "absent-one", "absent-two"))
    row = Row("needy", "s", "other", card, False, ())
    assert row.content()["missing_packages"] == ["absent-one", "absent-two"]
    assert "not installed: absent-one, absent-two" in " ".join(_shown([row]).split())
    assert "not installed: absent-one, absent-two |" in to_markdown([row])
    monkeypatch.setattr("ovbench.cli.catalogue.list.all_rows", lambda: [row])
    assert "s (not installed: absent-one, absent-two)" in ovbench("list").stdout
    whole = Row("whole", "s", "other", MethodCard(summary="s", kind="floor"), False, ())
    assert whole.content()["missing_packages"] == []
    assert "not installed" not in to_markdown([whole])


def test_the_readme_has_the_table_that_is_printed() -> None:
    own = [row for row in all_rows() if METHODS.entry(row.name).package == "ovbench"]
    table = README.read_text(encoding="utf-8").partition("<!-- methods -->\n")[2]
    assert table.partition("<!-- /methods -->")[0] == to_markdown(own)


def _shown(rows: list[Row]) -> str:
    console = Console(width=120)
    with console.capture() as captured:
        console.print(methods_table(rows))
    return captured.get()


def test_what_is_left_out_is_listed_with_its_reason_when_asked_for() -> None:
    assert "viewco" not in ovbench("list", "methods").stdout
    table = ovbench("list", "methods", "--all").stdout
    for one in LEFT_OUT:
        assert one.name in table
    rows = json.loads(ovbench("list", "methods", "--all", "--json").stdout)
    out = {row["name"]: row["left_out"] for row in rows if row["left_out"]}
    assert set(out) == {one.name for one in LEFT_OUT}
    assert out["viewco"]["reported"] == ["cocoobject", "context", "voc"]
    assert {row["name"] for row in rows} - set(out) == set(METHODS.entries)
    markdown = ovbench("list", "methods", "--all", "--markdown").stdout
    assert markdown.startswith(ovbench("list", "methods", "--markdown").stdout)
    table = markdown[markdown.index("| left out |") :]
    assert "\n| `fossil` | FOSSIL, Barsellotti et al., WACV 2024 | " in table
    assert table in (README.parent / "docs" / "baselines.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--method", "viewco", "--dataset", "toyworld"],
        ["list", "methods", "viewco"],
        ["weights", "fetch", "viewco"],
        ["check", "viewco"],
    ],
)
def test_what_is_left_out_cannot_be_asked_for(arguments: list[str]) -> None:
    done = ovbench(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "ViewCo (Ren et al., ICLR 2023) is left out: its weights are not public" in line
    command = re.search(r"`ovbench (leaderboard --reported -d [\w,]+)`", line)
    assert command is not None
    assert "ViewCo" in ovbench(*command[1].split()).stdout  # the advice works


def test_one_method_as_markdown() -> None:
    text = ovbench("list", "methods", "persam", "--markdown").stdout
    assert text.startswith("## persam: PerSAM: one picture")
    assert "| `weights` | sam/sam\\_vit\\_h, 2.6 GB, apache-2.0, missing |" in text.replace(
        "sam_vit_h", "sam\\_vit\\_h"
    )
    assert "| `refinements` | " in text
    assert "- --preset released_code: the defaults" in text.replace("\\", "")
    groups = ovbench("list", "methods", "groupvit", "--markdown").stdout
    assert "### --preset published: " in groups.replace("\\", "")
    widths = {line.count(" | ") for line in groups.splitlines() if line.startswith("| `voc`")}
    assert widths == {4}


def test_a_list_in_a_pipe_is_as_wide_as_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns, most in (("70", 70), ("0", 120), ("wide", 120), ("", 120)):
        monkeypatch.setenv("COLUMNS", columns)
        widest = max(map(len, ovbench("list", "methods").stdout.splitlines()))
        assert 0.8 * most < widest <= most


@pytest.mark.parametrize(
    "arguments", [["--markdown", "--json"], ["persam", "--markdown", "--json"], ["persam", "--all"]]
)
def test_what_does_not_go_together(arguments: list[str]) -> None:
    done = ovbench("list", "methods", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
