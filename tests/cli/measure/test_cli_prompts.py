"""``ovbench run --prompts`` and ``ovbench segment --prompts``, as typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ovbench.cli.app import app
from ovbench.datasets import load_dataset
from ovbench.errors import UsageError

FAST = ["--method", "ipseg", "--set", "features=dinov2", "--device", "cpu"]


def ovbench(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of the things of the rendered world, by themselves, with masks."""
    home = tmp_path_factory.mktemp("prompts")
    shown = load_dataset("toyworld", prompts="train")
    for query in shown.vocabulary.classes:
        (home / query.name).mkdir()
        (exemplar,) = query.exemplars
        assert exemplar.mask is not None
        Image.fromarray(exemplar.image).save(home / query.name / "one.png")
        Image.fromarray(exemplar.mask).save(home / query.name / "one_mask.png")
    return home


def test_prompts_of_a_split_are_in_the_result(tmp_path: Path) -> None:
    arguments = ["run", *FAST, "--dataset", "toyworld", "--limit", "2", "--json"]
    done = ovbench(*arguments, "--prompts", "train", "--shots", "2", "-o", tmp_path / "run")
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    prompts = result["prompts"]
    assert (prompts["source"], prompts["shots"]) == ("train", 2)
    assert {len(pictures) for pictures in prompts["pictures"].values()} == {2}
    assert result["run"]["notes"][0] == "10 classes shown by 20 pictures"
    # Other pictures are another run, and are not ranked with it.
    again = ovbench(*arguments, "--prompts", "train", "-o", tmp_path / "run")
    assert isinstance(again.exception, UsageError)
    assert "holds another run (differs in: prompts." in str(again.exception)
    board = ovbench("leaderboard", tmp_path)
    assert f"prompts train x2 ({prompts['sha256'][:8]})" in " ".join(board.output.split())


def test_prompts_of_a_folder_are_the_same_to_the_method(tmp_path: Path, folder: Path) -> None:
    common = ["run", *FAST, "--dataset", "toyworld", "--limit", "2", "--json"]
    results = []
    for prompts, to in ((str(folder), "a"), ("train", "b")):
        done = ovbench(*common, "--prompts", prompts, "-o", tmp_path / to)
        assert done.exit_code == 0, done.output
        results.append(json.loads((tmp_path / to / "result.json").read_text()))
    digests = {result["prompts"]["sha256"] for result in results}
    assert len(digests) == 1
    assert results[0]["metrics"] == results[1]["metrics"]
    assert results[0]["prompts"]["source"] == folder.name


def test_one_picture_of_ones_own(tmp_path: Path, folder: Path) -> None:
    scene = load_dataset("toyworld").load(0)
    Image.fromarray(scene.image).save(tmp_path / "scene.png")
    arguments = ["segment", tmp_path / "scene.png", *FAST, "--checkpoints", "toy"]
    files = ["--labels", tmp_path / "labels.png", "-o", tmp_path / "drawn.png"]
    done = ovbench(*arguments, "--names", "circle, star", "--prompts", folder, *files)
    assert done.exit_code == 0, done.output
    assert set(np.unique(np.asarray(Image.open(tmp_path / "labels.png")))) <= {0, 1, 2}
    done = ovbench(*arguments, "--names", "circle, cow", "--prompts", folder, *files)
    assert "no folder 'cow' with pictures of the class 'cow'" in str(done.exception)
    done = ovbench(*arguments, "--names", "circle, star", *files)
    assert "none shows circle, star; give some with" in str(done.exception)


def test_what_is_wrong_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ovbench", "run", *FAST, "--dataset", "toyworld"]
    command += ["--prompts", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: --prompts ")
    assert line.endswith("no folder 'circle' with pictures of the class 'circle'")
