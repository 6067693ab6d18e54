"""``ovbench explain`` through the whole command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from in_process import ovbench
from PIL import Image

from ovbench.drawing.explanation import explanation_page
from ovbench.harness.contract.explaining import Evidence, Explanation
from ovbench.harness.contract.vocabulary import Exemplar

QUICK = ["pictures=1", "steps=1", "guidance=1", "parts=2", "proposals=none", "extractors=clip"]
SETTINGS = [word for value in QUICK for word in ("--set", value)]


def run(folder: Path, method: str, *arguments: str) -> None:
    done = ovbench(
        *("run", "--method", method, "--dataset", "toyworld", "--device", "cpu", "--limit", "1"),
        *("--save-predictions", "--output", folder, *arguments),
    )
    assert done.returncode == 0, done.stderr


def test_a_pixel_of_a_run_is_explained_as_it_was_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "run", "ovdiff", *SETTINGS, "--seed", "3")
    picture = tmp_path / "why.png"
    command = ("explain", tmp_path / "run", "val-000000", "--device", "cpu")
    done = ovbench(*command, "--at", "40,70", "-o", picture)
    assert done.returncode == 0, done.stderr
    answered = np.asarray(Image.open(tmp_path / "run" / "predictions" / "val-000000.png"))[70, 40]
    names = json.loads((tmp_path / "run" / "run.json").read_text())["identity"]["vocabulary"]
    first, second, third = done.stdout.splitlines()
    assert first == f"ovdiff answers {names['names'][answered]!r} at 40,70"
    assert second.startswith("clip ")
    assert " of the " in second
    assert third == str(picture)
    page = Image.open(picture)
    assert page.width > 300
    assert "is not what" not in done.stderr
    with monkeypatch.context() as patch:
        patch.setattr("ovbench.harness.registry.sources._own_digest", lambda: "edited since")
        edited = ovbench(*command, "--at", "40,70", "-o", picture)
    assert edited.stdout == done.stdout
    told = f"ovdiff is not what {tmp_path / 'run'} measured: its code is not that of the run"
    assert told in edited.stderr.splitlines()

    outside = ovbench(*command, "--at", "96,0")
    assert outside.returncode == 2
    assert outside.stderr == "error: --at 96,0: write X,Y within the image, 0,0 to 95,95\n"
    missing = ovbench("explain", tmp_path / "run", "val-9", "--at", "0,0")
    assert missing.returncode == 2
    assert "val-9: neither a file nor an image of toyworld, such as val-000000" in missing.stderr


def test_what_cannot_be_explained_is_said_in_a_line(tmp_path: Path) -> None:
    run(tmp_path / "run", "random")
    done = ovbench("explain", tmp_path / "run", "val-000000", "--at", "0,0", "--device", "cpu")
    assert done.returncode == 2
    assert done.stderr.startswith("load random\nerror: random cannot say why")
    run(tmp_path / "told", "random", "--classes", "oracle")
    done = ovbench("explain", tmp_path / "told", "val-000000", "--at", "0,0", "--device", "cpu")
    assert done.returncode == 2
    assert "only runs that ask for the whole vocabulary" in done.stderr
    done = ovbench("explain", tmp_path / "none", "val-000000", "--at", "0,0")
    assert done.returncode == 2
    assert "no run directory" in done.stderr


@pytest.mark.parametrize("pixel", [(0, 0), (30, 10)])
def test_the_page_marks_the_pixel_and_the_regions(pixel: tuple[int, int]) -> None:
    grey = np.full((40, 60, 3), 120, np.uint8)
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:50] = True
    exhibits = (Exemplar(grey, mask), Exemplar(grey, ~mask))
    found = Explanation(1, (Evidence("dino", "part 3", 0.5, exhibits),))
    page = np.asarray(explanation_page(grey, *pixel, "dog", found))
    red = (page == (230, 25, 75)).all(axis=-1)
    assert red[:250, :310].any()  # the cross in the query
    assert red.sum() > 500  # and the outlines
    empty = np.asarray(explanation_page(grey, *pixel, "dog", Explanation(1, ())))
    assert (empty == (230, 25, 75)).all(axis=-1).any()
