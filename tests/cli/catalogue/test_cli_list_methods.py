"""The table of methods, in a terminal, as JSON and as Markdown."""

from __future__ import annotations

import json
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


@pytest.mark.parametrize("beside", ["maskclip", "--json"])
def test_markdown_is_of_the_whole_list_alone(beside: str) -> None:
    refused = ovbench("list", "methods", beside, "--markdown")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: --markdown goes with the list of all methods alone")
