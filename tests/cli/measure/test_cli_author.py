"""The loop of a method's author: edit, run, see the new number; the old one is kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from in_process import ovbench

METHOD = """
import os
from dataclasses import dataclass
from author.attention import attend

@dataclass(frozen=True)
class Settings:
    pass

class Mine:
    Settings = Settings

    def __init__(self, settings, runtime):
        self.settings, self.left = settings, int(os.environ.get("DIES_AFTER", 99))

    def prepare(self, vocabulary):
        self.labels = len(vocabulary)

    def segment(self, images, candidates=None):
        self.left -= 1
        if self.left < 0:
            raise SystemExit(9)
        return [attend(image, self.labels) for image in images]
"""
ATTENTION = """
import numpy as np

def attend(image, labels):
    return (image[..., {channel}] // 64 % labels).astype(np.uint8)
"""


class Author:
    """Somebody with an editable package and a folder to work in."""

    def __init__(self, home: Path) -> None:
        self.home, self.source = home / "work", home / "source"
        package, about = self.source / "author", self.source / "author_method-0.1.dist-info"
        for folder in (self.home, package, about):
            folder.mkdir(parents=True)
        (about / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: author-method\nVersion: 0.1\n"
        )
        (about / "entry_points.txt").write_text("[ovbench.methods]\nmine = author.method:Mine\n")
        (package / "__init__.py").write_text("")
        (package / "method.py").write_text(METHOD)
        self.edit(0)

    def edit(self, channel: int) -> None:
        """Attend to another channel."""
        text = ATTENTION.format(channel=channel)
        (self.source / "author" / "attention.py").write_text(text)
        shutil.rmtree(self.source / "author" / "__pycache__", ignore_errors=True)

    def run(self, *options: str, dies_after: int = 99) -> subprocess.CompletedProcess[str]:
        words = ["run", "-m", "mine", "-d", "toyworld", "--limit", "6", "--device", "cpu", "--json"]
        places = os.pathsep.join([str(self.source), *sys.path])
        return subprocess.run(
            [sys.executable, "-m", "ovbench", *words, *options],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.home,
            env={**os.environ, "PYTHONPATH": places, "DIES_AFTER": str(dies_after)},
        )

    def result(self, *options: str) -> dict[str, Any]:
        done = self.run(*options)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def test_edit_run_and_see_the_new_number(tmp_path: Path) -> None:
    author = Author(tmp_path)
    cut = author.run("--output", "cut", dies_after=3)
    assert cut.returncode != 0
    shard = author.home / "cut" / "records" / "rank-0.jsonl"
    old = shard.read_bytes()
    assert old.count(b'"image"') == 3
    first = author.result()
    assert first["environment"]["packages"]["author-method"] == "0.1"
    assert set(first["code"]) == {"ovbench", "author-method"}

    author.edit(1)
    second = author.result()
    assert second["metrics"]["miou"] != first["metrics"]["miou"]
    kept = {path.name: path for path in (author.home / "runs").iterdir()}
    assert set(kept) == {f"mine-toyworld-{run['run']['id']}" for run in (first, second)}
    place = kept[f"mine-toyworld-{first['run']['id']}"]
    assert json.loads((place / "result.json").read_text()) == first
    # What was cut short is not finished by other code.
    refused = author.run("--output", "cut")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "load mine\n" + (
        "error: cut holds another run (differs in: code of author-method); "
        "give another --output or measure again with --fresh\n"
    )
    assert shard.read_bytes() == old
    again = author.result("--output", "cut", "--fresh")
    assert again["metrics"] == second["metrics"]

    author.edit(0)
    done = author.run()  # the code of the first run: its number is read, and says how old it is
    assert json.loads(done.stdout) == first
    assert "all 6 images were measured before (" in done.stderr
    assert "--fresh measures again" in done.stderr


@pytest.fixture
def toyworld(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return ["run", "--device", "cpu", "--limit", "3"]


def test_every_pair_of_several_methods_and_datasets_is_a_run(toyworld: list[str]) -> None:
    pair = ["-m", "constant,random", "-d", "toyworld,toyworld_stuff"]
    done = ovbench(*toyworld, *pair, "--output", "all", "--json", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    names = [f"{result['run']['method']}-{result['run']['dataset']}" for result in found]
    assert names == [
        "constant-toyworld", "constant-toyworld_stuff", "random-toyworld", "random-toyworld_stuff"
    ]  # fmt: skip
    assert sorted(path.name for path in Path("all").iterdir()) == sorted(names)
    # Alone it is the same run.
    alone = ovbench(*toyworld, "-m", "random", "-d", "toyworld", "-o", "all/random-toyworld", "-q")
    assert alone.returncode == 0
    assert alone.stdout.splitlines()[-1] == "all/random-toyworld"
    assert alone.stderr.startswith("all 3 images were measured before (")
    seeds = ovbench(*toyworld, "-m", "constant,random", "-d", "toyworld", "--seeds", "1,2", "-q")
    assert seeds.returncode == 0, seeds.stderr
    assert [line[:5] for line in seeds.stdout.splitlines()] == ["mIoU ", "runs/"] * 2
