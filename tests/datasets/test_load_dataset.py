from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from ovbench.datasets import load_dataset
from ovbench.datasets.derived.training import load_for_tuning
from ovbench.errors import UsageError
from ovbench.harness.contract.datasets import Dataset, DatasetInfo


@pytest.mark.parametrize(("alias", "labels"), [("voc20", 20), ("voc21", 21)])
def test_an_alias_is_a_benchmark_under_a_rule(tiny_voc: Path, alias: str, labels: int) -> None:
    dataset = load_dataset(alias, root=tiny_voc)
    assert isinstance(dataset, Dataset)
    assert dataset.info.name == "voc"
    assert len(dataset.vocabulary) == labels
    again = load_dataset(alias, root=tiny_voc, background=dataset.info.background)
    assert again.info == dataset.info


def test_what_is_tuned_on_is_not_what_is_measured(tiny_voc: Path, tmp_path: Path) -> None:
    assert load_for_tuning("toyworld").info.split == "train"
    assert load_for_tuning("toyworld", split="val").info.split == "val"
    lists = tiny_voc / "VOCdevkit/VOC2012/ImageSets/Segmentation"
    (lists / "train.txt").unlink(missing_ok=True)
    with pytest.raises(UsageError, match=r"train\.txt.*; --split val tunes on what is measured$"):
        load_for_tuning("voc", root=tiny_voc)
    with pytest.raises(UsageError, match="did you mean 'toyworld'") as caught:
        load_for_tuning("toywrld")
    assert "--split" not in str(caught.value)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "images/a.png")
    Image.new("L", (4, 4)).save(tmp_path / "masks/a.png")
    (tmp_path / "classes.txt").write_text("cat\n")
    assert load_for_tuning("folder", root=tmp_path).info.split == "all"


def test_an_alias_does_not_bend() -> None:
    with pytest.raises(UsageError, match="voc20 means background=ignore; class contradicts it"):
        load_dataset("voc20", background="class")


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="did you mean 'toyworld'"):
        load_dataset("toywrld")


def test_root_can_come_from_the_environment(
    tiny_voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVBENCH_DATA", str(tiny_voc))
    assert len(load_dataset("voc").ids) == 5
    with pytest.raises(UsageError, match="elsewhere"):
        load_dataset("voc", root=tmp_path / "elsewhere")  # what is asked for wins


def test_the_home_folder_may_be_abbreviated(
    tiny_voc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tiny_voc.parent))
    assert len(load_dataset("voc", root=f"~/{tiny_voc.name}").ids) == 5


def test_the_names_reach_the_vocabulary(tiny_voc: Path) -> None:
    dataset = load_dataset("voc", root=tiny_voc, names="sclip")
    assert dataset.vocabulary.source == "voc/sclip"
    assert {c.kind for c in dataset.vocabulary.classes} == {"thing"}


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ((), "mine val: holds no images"),
        (("a", "b", "a"), "mine val: lists the image a more than once"),
        (("a", "../b"), "mine val: the image '../b' would lie elsewhere"),
        (("/a",), "mine val: the image '/a' would lie elsewhere"),
        (("caf\udce9",), r"mine val: the file name 'caf\\xe9' is not UTF-8; rename it"),
    ],
)
def test_ids_that_cannot_be_kept_apart_or_kept_at_all(
    monkeypatch: pytest.MonkeyPatch, ids: tuple[str, ...], message: str
) -> None:
    mine = SimpleNamespace(info=DatasetInfo("mine", "val", "none"), ids=ids)
    monkeypatch.setattr("ovbench.datasets.DATASETS.load", lambda name: lambda choices: mine)
    with pytest.raises(UsageError, match=message):
        load_dataset("voc")


def test_importing_the_package_is_cheap() -> None:
    program = "import sys, ovbench.datasets; print(*{'torch', 'PIL', 'numpy'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) <= {"numpy"}
