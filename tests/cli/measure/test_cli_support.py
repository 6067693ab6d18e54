"""``ovbench support``, and how a method's long work is shown."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from in_process import ovbench
from PIL import Image
from typer.testing import CliRunner

from ovbench.cli.app import app
from ovbench.cli.progress import working
from ovbench.cli.progress.working import work_shown
from ovbench.errors import UsageError
from ovbench.harness.contract.progress import progress, say
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.files.cache import remembered
from ovbench.harness.registry.names import METHODS
from ovbench.models.diffusion import model as diffusion
from ovbench.models.diffusion.attention import AttributionRule
from ovbench.models.diffusion.sampling import Sampling
from ovbench.support import Recipe

RUNTIME = Runtime(checkpoints="toy")


def test_pictures_are_made_drawn_and_listed(tmp_path: Path, cache: Path) -> None:
    sheet = tmp_path / "sheet.png"
    recipe = ("--checkpoints", "toy", "--steps", "2", "--solver", "ddim", "--seed", "3")
    shown = ovbench(
        "support", "show", "red disc", "ring", *recipe, "--count", "1", "-o", str(sheet)
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout == f"{sheet}\n"
    assert "2 support pictures of 2 classes, 96x96, 2 steps, by toyworld/" in shown.stderr
    colours = np.asarray(Image.open(sheet).convert("RGB")).reshape(-1, 3)
    assert (colours == (230, 25, 75)).all(axis=1).any()  # the mask's outline
    remembered("prototypes", {}, lambda: {"a": np.zeros(10)})
    listed = json.loads(ovbench("support", "list", "--json").stdout)
    disc, ring = listed["sets"]
    assert (disc["key"]["prompt"], disc["pictures"]) == ("a photo of a red disc", 1)
    assert disc["bytes"] == sum(path.stat().st_size for path in Path(disc["path"]).iterdir())
    assert (ring["key"]["sampling"]["solver"], ring["key"]["seed"]) == ("ddim", 3)
    assert [(kind["kind"], kind["files"]) for kind in listed["arrays"]] == [("prototypes", 1)]
    table = ovbench("support", "list").stdout
    assert "a photo of a ring" in table
    assert "prototypes: 1" in table
    assert f"in {cache}; what is deleted" in table


def test_an_empty_cache_is_listed() -> None:
    assert "0 bytes in" in CliRunner().invoke(app, ["support", "list"]).stdout


@dataclass(frozen=True)
class Settings:
    steps: int = 4


class Imagines:
    """A method that only has a recipe."""

    Settings = Settings
    presets = {"long": {"steps": 9}}  # noqa: RUF012

    @staticmethod
    def recipe(settings: Settings, seed: int) -> Recipe:
        sampling = Sampling("ddim", settings.steps, 5.0)
        rule = AttributionRule((2,), mode="bilinear")
        return Recipe("stable_diffusion_v1_4", "{}!", "dog", sampling, rule, 10 * seed)


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ([], {}),
        (["--preset", "long"], {"steps": 9}),
        (["--set", "steps=7", "--guidance", "2"], {"steps": 7, "guidance": 2.0}),
    ],
)
def test_a_methods_recipe_and_what_the_options_change(
    words: list[str],
    change: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    asked: list[tuple[diffusion.Request, Sampling, AttributionRule]] = []

    class Painter:
        image_size, cell = 8, 2
        checkpoints = diffusion.locate("stable_diffusion", "", RUNTIME).records

        def generate(self, requests, sampling, *, rule, **_):  # type: ignore[no-untyped-def]
            import torch

            asked.append((*requests, sampling, rule))
            return diffusion.Generated(np.zeros((1, 8, 8, 3), np.uint8), torch.zeros(1, 4, 4))

    monkeypatch.setattr(METHODS, "load", lambda _name: Imagines)
    monkeypatch.setattr(diffusion, "load_diffusion", lambda _name, _runtime: Painter())
    sheet = str(tmp_path / "sheet.png")
    common = ["--checkpoints", "toy", "--device", "cpu", "--count", "1", "--seed", "3", "-o", sheet]
    peak = ["--peak-normalised", *words]
    done = CliRunner().invoke(app, ["support", "show", "cat", "-m", "imagines", *common, *peak])
    assert done.exit_code == 0, done.output
    ((request, sampling, rule),) = asked
    recipe = Imagines.recipe(Settings(), 3)
    assert (request.prompt, request.negative, request.name) == ("cat!", "dog", "cat")
    assert (request.seed, request.draw) == recipe.noise_of("cat", 0)
    assert sampling == replace(recipe.sampling, **change)  # type: ignore[arg-type]
    assert rule == replace(recipe.rule, peak_normalised=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "maskclip"], "maskclip makes no pictures of its classes"),
        (["--set", "steps=3"], "--preset and --set go with --method"),
        (["--prompt", "a ring", "--checkpoints", "toy"], "needs one {}"),
    ],
)
def test_wrong_usage(words: list[str], message: str) -> None:
    failed = CliRunner().invoke(app, ["support", "show", "ring", *words])
    assert isinstance(failed.exception, UsageError)
    assert message in str(failed.exception)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work() -> None:
    say("2 things, [red] ones")
    with progress("things", total=4) as advance:
        advance(0.5)
        with progress("parts", total=2) as part:
            part(2)
        advance(3.5)


def test_a_terminal_gets_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with work_shown():
        work()
        work()
    shown = terminal.getvalue()
    assert shown.count("2 things, [red] ones") == 2
    assert "4/4" in shown
    assert "2/2" in shown


def test_a_log_gets_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with work_shown():
        work()
    begun = ["2 things, [red] ones", "things: 4 to do", "parts: 2 to do"]
    assert capsys.readouterr().err.splitlines() == begun
    monkeypatch.setattr(working, "LOG_EVERY_S", 0)
    with work_shown():
        work()
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == begun[:2]
    assert lines[4] == "parts: 2/2, 0 s left"
    assert lines[5] == "things: 4/4, 0 s left"
