"""A dataset of one's own whose classes have nasty names, from its files to every command."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from in_process import ovbench
from PIL import Image

from ovbench.harness.files.images import write_label

CLASSES = ("cat [/indoor]", ":cat:", "[red]x[/red]", "@SUM(1)", "<b>&", "$x_{1}$ \\end", "`a|b`")


def test_every_command_prints_them_as_they_are(tmp_path: Path) -> None:
    root, run = tmp_path / "[/root]", tmp_path / "runs" / ":cat:"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    rng = np.random.default_rng(0)
    for name in ("one", "[two]"):
        image = rng.integers(0, 256, (8, len(CLASSES), 3), dtype=np.uint8)
        Image.fromarray(image).save(root / "images" / f"{name}.png")
        label = np.tile(np.arange(len(CLASSES), dtype=np.uint8), (8, 1))
        write_label(root / "masks" / f"{name}.png", label)
    data = ("--dataset", "folder", "--root", root)
    report = tmp_path / "report.html"
    for words in (
        ["datasets", "verify", "folder", "--root", root],
        ["run", "-m", "constant", *data, "--device", "cpu", "-o", run],
        ["run", "-m", "random", *data, "--device", "cpu", "-o", tmp_path / "runs" / "b"],
        ["compare", run, tmp_path / "runs" / "b"],
    ):
        done = ovbench(*words)
        assert done.returncode == 0, done.stderr
        assert all(name in done.stdout for name in CLASSES), words
    for words in (
        ["leaderboard", tmp_path / "runs"],
        ["regress", run, "--expected", tmp_path / "pins", "--pin"],
        ["regress", run, "--expected", tmp_path / "pins"],
        ["report", run, "--root", root, "-o", report],
    ):
        done = ovbench(*words)
        assert done.returncode == 0, done.stderr
    names = json.loads((run / "result.json").read_text())["vocabulary"]["names"]
    assert names == list(CLASSES)

    class Page(HTMLParser):
        words, tags = "", frozenset[str]()

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.tags |= {tag}

        def handle_data(self, data: str) -> None:
            self.words += data

    page = Page()
    page.feed(report.read_text())
    assert all(name in page.words for name in CLASSES)
    assert "b" not in page.tags
