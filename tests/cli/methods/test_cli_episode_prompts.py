"""``--prompts DIR`` on the image-prompted benchmarks: one chosen picture per class, as typed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_process import ovbench
from tiny_episodes import coco, corner, fss, mask_file, perseg, picture

from ovbench.datasets import load_dataset
from ovbench.datasets.derived.recorded import load_recorded
from ovbench.datasets.fss1000 import class_folders
from ovbench.harness.results.store import RunStore

IPSEG = ("--method", "ipseg", "--set", "features=dinov2", "--set", "prompt_mask=none",
         "--checkpoints", "toy", "--device", "cpu")  # fmt: skip
FAST = ("--method", "constant")


def run(to: Path, *arguments: object, method: tuple[str, ...] = FAST) -> dict[str, Any]:
    done = ovbench("run", *method, *arguments, "--json", "-o", to)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def refusal(*arguments: object) -> str:
    done = ovbench("run", *FAST, *arguments)
    assert done.returncode == 2, done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    return error


@pytest.fixture
def objects(tmp_path: Path) -> Path:
    return perseg(tmp_path / "data", duck_toy=4, cat=3)


def chosen(home: Path, root: Path, cat: str = "01", duck: str = "02") -> Path:
    """Pictures of PerSeg's own, the duck's with its mask."""
    parts = root / "PerSeg" / "Images", root / "PerSeg" / "Annotations"
    for name, number in (("cat", cat), ("duck_toy", duck)):
        (home / name).mkdir(parents=True)
        shutil.copy(parts[0] / name / f"{number}.jpg", home / name / f"my_{number}.jpg")
    shutil.copy(parts[1] / "duck_toy" / f"{duck}.png", home / "duck_toy" / f"my_{duck}_mask.png")
    return home


def test_every_image_of_an_object_is_asked_by_its_chosen_picture(
    tmp_path: Path, objects: Path
) -> None:
    folder = chosen(tmp_path / "mine", objects)
    dataset = load_dataset("perseg", root=objects, prompts=folder)
    # What shows an object is not looked for, whatever it is called.
    assert list(dataset.ids) == ["cat/02", "duck_toy/01", "duck_toy/03"]
    samples = [dataset.load(i) for i in range(3)]
    prompts = [sample.prompt for sample in samples]
    assert prompts[1] is not None
    assert prompts[2] is not None
    assert prompts[1].id == prompts[2].id
    assert prompts[1].labels == (0, 2)
    ((shown,),) = (query.exemplars for query in prompts[1].vocabulary.classes)
    assert (shown.image == 16).all()
    assert shown.mask is not None
    assert (shown.mask == (corner(3) > 0)).all()
    assert (samples[1].label == corner(2, 2)).all()

    asked = ("--dataset", "perseg", "--root", objects, "--prompts", folder)
    result = run(tmp_path / "run", *asked, method=IPSEG)
    assert result["run"]["num_images"] == 3
    assert result["run"]["complete"]
    assert result["run"]["warnings"][0] == ("2 images of perseg test are prompts, so not measured")
    found = result["prompts"]
    assert found.pop("sha256")
    assert found == {
        "source": "mine",
        "shots": None,
        "pictures": {"cat": ["my_01.jpg"], "duck toy": ["my_02.jpg"]},
        "left_out": ["cat/01", "duck_toy/02"],
    }


def test_a_run_with_chosen_pictures_is_opened_again(tmp_path: Path, objects: Path) -> None:
    common = ("--dataset", "perseg", "--root", objects)
    folder = chosen(tmp_path / "mine", objects)
    run(tmp_path / "run", *common, "--prompts", folder)
    identity = RunStore(tmp_path / "run").identity()
    assert identity is not None
    again = load_recorded(identity, root=objects)
    assert list(again.ids) == ["cat/02", "duck_toy/01", "duck_toy/03"]
    # Where the folder is, a run does not say: no other picture is shown in its place.
    prompt = again.load(0).prompt
    assert prompt is not None
    assert prompt.vocabulary.classes[0].exemplars == ()
    # Other pictures are another run, ranked apart.
    other = chosen(tmp_path / "other", objects, cat="00")
    error = refusal(*common, "--prompts", other, "-o", tmp_path / "run")
    assert "holds another run (differs in: " in error
    assert "prompts." in error
    run(tmp_path / "second", *common, "--prompts", other)
    run(tmp_path / "third", *common)
    boards = ovbench("leaderboard", *(tmp_path / name for name in ("run", "second", "third")))
    assert boards.returncode == 0, boards.stderr
    text = " ".join(boards.stdout.split())
    assert "prompts mine (" in text
    assert "prompts other (" in text


def test_coco_and_fss_are_asked_by_chosen_pictures(tmp_path: Path) -> None:
    root = coco(tmp_path / "coco", 1)
    folder = tmp_path / "all"
    names = load_dataset("coco20i", root=root, split="fold1").vocabulary.names[1:]
    for name in names:
        (folder / name.replace(" ", "_")).mkdir(parents=True)
        picture(folder / name.replace(" ", "_") / "x.png", (9, 7))
    shutil.copy(root / "val2014" / "COCO_val2014_000000000002.jpg", folder / "bicycle" / "y.jpg")
    asked = ("--dataset", "coco20i", "--split", "fold1", "--root", root, "--prompts", folder)
    result = run(tmp_path / "a", *asked, "--limit", 2)
    left_out = result["prompts"]["left_out"]
    assert {name.rpartition("_")[2] for name in left_out} == {"000000000002"}
    assert list(result["prompts"]["pictures"]["bicycle"]) == ["x.png", "y.jpg"]
    assert result["run"]["warnings"][0].startswith(f"{len(left_out)} images of coco20i fold1 are")
    assert not any("official list" in warning for warning in result["run"]["warnings"])

    root, folder = fss(tmp_path / "fss", "fewshot_data", class_folders()), tmp_path / "240"
    (tmp_path / "third").mkdir()
    shutil.copy(root / "one" / "3.jpg", tmp_path / "third")
    shutil.copy(root / "one" / "3.png", tmp_path / "third" / "3_mask.png")
    folder.mkdir()
    for name in class_folders():
        (folder / name).symlink_to(tmp_path / "third")
    result = run(tmp_path / "b", "--dataset", "fss1000", "--root", root, "--prompts", folder,
                 "--limit", 2)  # fmt: skip
    assert len(result["prompts"]["left_out"]) == 240
    assert not any("official list" in warning for warning in result["run"]["warnings"])


def test_what_is_wrong_with_chosen_pictures_is_one_line(tmp_path: Path, objects: Path) -> None:
    common = ("--dataset", "perseg", "--root", objects)
    assert refusal(*common, "--prompts", "train") == (
        "error: --prompts train: no such folder; perseg has no other split with its classes"
    )
    folder = chosen(tmp_path / "mine", objects)
    assert "--shots goes with --prompts SPLIT" in refusal(
        *common, "--prompts", folder, "--shots", 2
    )
    shutil.copy(objects / "PerSeg" / "Images" / "cat" / "02.jpg", folder / "cat")
    assert "every image of 'cat' in perseg test is among its pictures" in refusal(
        *common, "--prompts", folder
    )
    shutil.rmtree(folder / "cat")
    assert "no folder 'cat' with pictures of the class 'cat'" in refusal(
        *common, "--prompts", folder
    )
    # A method that needs masks says which picture lacks one.
    (folder / "cat").mkdir()
    picture(folder / "cat" / "a.png", (9, 7))
    done = ovbench("run", "--method", "persam", "--checkpoints", "toy", *common, "--prompts",
                   folder, "-o", tmp_path / "masks")  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "persam needs a mask of the object in every prompt image, and that of cat" in done.stderr
    mask_file(folder / "cat" / "a_mask.png", np.full((9, 7), 255, np.uint8))
    done = ovbench("run", "--method", "persam", "--checkpoints", "toy", *common, "--prompts",
                   folder, "-o", tmp_path / "masks")  # fmt: skip
    assert done.returncode == 0, done.stderr
