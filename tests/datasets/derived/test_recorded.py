"""A run's dataset is opened as it was chosen, or refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ovbench.datasets import load_dataset
from ovbench.datasets.derived.recorded import load_recorded
from ovbench.errors import UsageError
from ovbench.harness.contract.datasets import Dataset
from ovbench.harness.registry.methods import load_method
from ovbench.harness.run.runner import Options, Run, predictor_for


def identity(dataset: Dataset, limit: int | None = None) -> dict[str, Any]:
    method = load_method("constant", device="cpu")
    predictor = predictor_for(method.segmenter, dataset.vocabulary, dataset.info.prompted)
    return Run(predictor, method.subject, dataset, Options(limit=limit)).identity()


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"background": "ignore"},
        {"names": "sclip"},
        {"subset": "unseen5"},
        {"subset": "unseen5-only", "names": "sclip"},
    ],
)
def test_every_choice_is_made_again(tiny_voc: Path, choices: dict[str, str]) -> None:
    dataset = load_dataset("voc", root=tiny_voc, **choices)  # type: ignore[arg-type]
    found = load_recorded(identity(dataset, limit=3), root=tiny_voc)
    assert found.info == dataset.info
    assert found.vocabulary == dataset.vocabulary
    assert (found.load(1).label == dataset.load(1).label).all()


def test_other_images_are_refused(tiny_voc: Path) -> None:
    recorded = identity(load_dataset("voc", root=tiny_voc))
    lists = tiny_voc / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "val.txt"
    lists.write_text("2007_000033\n2007_000042\n")
    with pytest.raises(UsageError, match="voc: the images here are not those of the run"):
        load_recorded(recorded, root=tiny_voc)


def test_a_missing_root_says_what_to_give(tiny_voc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OVBENCH_DATA", raising=False)
    recorded = identity(load_dataset("voc", root=tiny_voc))
    with pytest.raises(UsageError, match="voc needs --root DIR or OVBENCH_DATA"):
        load_recorded(recorded)


def test_a_folder_may_have_been_renamed(tmp_path: Path) -> None:
    old = tmp_path / "old"
    for part in ("images", "masks"):
        (old / part).mkdir(parents=True)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(old / "images" / "a.png")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(old / "masks" / "a.png")
    (old / "classes.txt").write_text("7: cat\n0: dog, puppy\n")
    recorded = identity(load_dataset("folder", root=old))
    old.rename(tmp_path / "new")
    assert load_recorded(recorded, root=tmp_path / "new").vocabulary.names == ("cat", "dog")


def test_drawn_prompts_are_drawn_again() -> None:
    dataset = load_dataset("toyworld", prompts="train", shots=2)
    recorded = identity(dataset, limit=3)
    found = load_recorded(recorded)
    assert found.info == dataset.info
    assert found.vocabulary.exemplars_sha256 == dataset.vocabulary.exemplars_sha256
    recorded["prompts"]["sha256"] = "0" * 64
    with pytest.raises(UsageError, match="train: the prompts drawn here are not those of the run"):
        load_recorded(recorded)
