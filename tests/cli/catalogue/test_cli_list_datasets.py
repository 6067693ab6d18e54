from __future__ import annotations

import subprocess
import sys


def listing(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ovbench", "list", "datasets", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_benchmark_is_listed() -> None:
    shown = listing().stdout
    for name in ("voc", "context", "cocoobject", "cocostuff", "ade20k", "cityscapes", "coco20i",
                 "fss1000", "perseg", "folder", "toyworld", "toyworld_stuff"):  # fmt: skip
        assert name in shown


def test_what_may_be_chosen_of_one() -> None:
    shown = listing("voc").stdout
    assert "sclip" in shown
    assert "26 names for the background" in shown
    assert "--subset unseen5, asks for all names: pottedplant" in shown
    assert "--subset unseen5-only, asks for these alone: pottedplant" in shown
    assert "--dataset voc20: voc --background ignore" in shown


def test_an_unknown_dataset() -> None:
    done = listing("vc")
    assert done.returncode == 2
    assert done.stderr == "error: no dataset 'vc'; did you mean 'voc'?\n"
