"""PnP-OVSS through the real command line: measured, tuned, and on a large vocabulary."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from in_process import ovbench
from PIL import Image

from ovbench.harness.files.images import write_label


def answer_of(*arguments: str | Path) -> dict:
    done = ovbench(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_tuned_settings_are_measured(tmp_path: Path) -> None:
    common = ("--method", "pnp_ovss", "--dataset", "toyworld", "--batch-size", "4")
    found = answer_of("tune", *common, "--limit", "4", "--trials", "3", "--output", tmp_path / "t")
    assert set(found["settings"]) == {"layer", "head", "threshold", "blur"}
    file = tmp_path / "t" / "settings.json"
    result = answer_of("run", *common, "--limit", "4", "--settings", file, "-o", tmp_path / "r")
    assert {name: result["config"][name] for name in found["settings"]} == found["settings"]
    assert result["run"]["notes"] == ["10 classes in 1 prompt of 15 tokens"]
    assert set(result["profile"]["stages"]) >= {"preprocess", "encode", "attention", "blur", "crf"}


def test_a_large_vocabulary_is_cut_into_prompts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("000000000139", "000000000285"):
        label = rng.choice([0, 10, 89, 91, 181, 255], (6, 1)).astype(np.uint8)
        label = label.repeat(40, axis=1).repeat(5, axis=0)
        (tmp_path / "val2017").mkdir(exist_ok=True)
        (tmp_path / "stuffthingmaps" / "val2017").mkdir(parents=True, exist_ok=True)
        write_label(tmp_path / "stuffthingmaps" / "val2017" / f"{name}.png", label)
        picture = Image.fromarray(rng.integers(0, 256, (*label.shape, 3), dtype=np.uint8))
        picture.save(tmp_path / "val2017" / f"{name}.jpg")
    result = answer_of(
        *("run", "--method", "pnp_ovss", "--dataset", "cocostuff", "--root", tmp_path),
        *("--checkpoints", "toy", "--output", tmp_path / "run"),
    )
    assert result["run"]["num_images"] == 2
    assert result["run"]["warnings"][0].startswith("cocostuff val has 2 images here")
    (note,) = result["run"]["notes"]
    assert note.startswith("171 classes in ")
    assert len(result["per_class"]) == 171
