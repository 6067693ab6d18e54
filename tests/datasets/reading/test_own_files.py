"""A user's own files are known by what they hold, wherever they lie."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ovbench.datasets import load_dataset
from ovbench.datasets.derived.recorded import load_recorded
from ovbench.errors import UsageError
from ovbench.harness.files import digests
from ovbench.harness.files.images import write_label
from ovbench.harness.registry.methods import load_method
from ovbench.harness.results.store import identity_digest
from ovbench.harness.run.runner import Options, evaluate, run_of
from ovbench.leaderboards.gates.comparison import compare
from ovbench.leaderboards.tables.table import Conditions, boards

CLASSES = "background\ncat, kitten\ndog\n"
SWAPPED = "0: background\n2: cat, kitten\n1: dog\n"


def run_id(root: Path | str, limit: int | None = None, **choices: Any) -> str:
    dataset = load_dataset("folder", root=root, **choices)
    method = load_method("constant", device="cpu")
    return identity_digest(run_of(method, dataset, options=Options(limit=limit)).identity())


def measured(root: Path | str, **choices: Any) -> dict[str, Any]:
    result = evaluate(
        load_method("constant", device="cpu"), load_dataset("folder", root=root, **choices)
    )
    assert result is not None
    return result


@pytest.fixture
def own(tmp_path: Path) -> Path:
    root = tmp_path / "home" / "own"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        pixels = rng.integers(0, 256, (8, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{name}.png")
        paint(root, name, 1)
    (root / "classes.txt").write_text(CLASSES)
    return root


def paint(root: Path, name: str, label: int) -> None:
    path = root / "masks" / f"{name}.png"
    write_label(path, np.full((8, 9), label, np.uint8))
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 5_000_000))


def test_one_folder_is_one_run_however_it_is_reached(own: Path, monkeypatch) -> None:
    first = run_id(own)
    (own.parent / "link").symlink_to(own)
    assert run_id(own.parent / "link") == first
    monkeypatch.chdir(own.parent)
    assert run_id("own") == run_id("./own/") == run_id("../home/own") == first
    monkeypatch.chdir(own)
    assert run_id(".") == first
    shutil.copytree(own, own.parent / "copy")
    assert run_id("../copy") == first


@pytest.mark.parametrize("limit", [None, 2])
@pytest.mark.parametrize(
    ("change", "decides"),
    [
        (lambda own: paint(own, "a", 2), True),
        (lambda own: shutil.copy(own / "images/b.png", own / "images/a.png"), True),
        (lambda own: (own / "classes.txt").write_text(SWAPPED), True),
        (lambda own: (own / "classes.txt").write_text(f"# mine\n{CLASSES}"), False),
        (lambda own: os.utime(own / "masks/a.png"), False),
    ],
)  # fmt: skip
def test_what_a_file_holds_decides(
    own: Path, change: Callable[[Path], object], decides: bool, limit: int | None
) -> None:
    before = run_id(own, limit)
    change(own)
    assert (run_id(own, limit) != before) is decides


def test_only_the_images_of_a_run_count(own: Path) -> None:
    two, all_of_them = run_id(own, 2), run_id(own)
    paint(own, "c", 2)
    assert run_id(own, 2) == two
    assert run_id(own) != all_of_them


def test_masks_that_were_repainted_are_measured(own: Path, tmp_path: Path) -> None:
    def ask(**options: Any) -> dict[str, Any]:
        result = evaluate(
            load_method("constant", device="cpu", settings={"label": 1}),
            load_dataset("folder", root=own),
            output=tmp_path / "run",
            options=Options(**options),
        )
        assert result is not None
        return result

    before = ask()
    for name in "abc":
        paint(own, name, 2)
    with pytest.raises(UsageError, match=r"differs in: the labels\).*--fresh"):
        ask()
    after = ask(fresh=True)
    assert (before["per_class"][1]["iou"], after["per_class"][1]["iou"]) == (100.0, 0.0)
    # Other labels are another table; the same ones under another name are not.
    own.rename(own.with_name("renamed"))
    again = measured(own.with_name("renamed"))
    assert Conditions.of(again) == Conditions.of(after) != Conditions.of(before)
    assert len(boards([before, after, again])) == 2


def test_runs_on_one_folder_are_compared_whatever_it_is_called(own: Path, tmp_path: Path) -> None:
    def ask(root: Path, run: str) -> Path:
        method = load_method("random", device="cpu")
        evaluate(method, load_dataset("folder", root=root), output=tmp_path / run)
        return tmp_path / run

    first = ask(own, "first")
    own.rename(own.with_name("renamed"))
    assert compare(first, ask(own.with_name("renamed"), "second")).warnings == []
    paint(own.with_name("renamed"), "a", 2)
    (told,) = compare(first, ask(own.with_name("renamed"), "third")).warnings
    assert told.startswith("the runs differ in files.labels: ")


def test_files_are_read_again_only_where_they_changed(own: Path, cache: Path, monkeypatch) -> None:
    # Files just written count as settled, also where the disk's clock is ahead of the process's.
    monkeypatch.setattr(digests, "_SETTLED_S", -60)
    reads: list[str] = []
    plain = digests._digest
    monkeypatch.setattr(digests, "_digest", lambda path: reads.append(path) or plain(path))
    first = run_id(own)
    assert len(reads) == 6
    assert run_id(own) == first
    assert len(reads) == 6
    paint(own, "b", 2)
    assert run_id(own) != first
    assert reads[6:] == [str(own / "masks" / "b.png")]
    for book in (cache / "digests").iterdir():
        book.write_text('{"a": 3')
    paint(own, "b", 1)
    assert run_id(own) == first


def test_a_file_that_is_missing_counts_as_such(own: Path) -> None:
    first = run_id(own)
    (own / "masks" / "b.png").rename(own / "b.png")
    assert run_id(own) == run_id(own) != first
    (own / "b.png").rename(own / "masks" / "b.png")
    assert run_id(own) == first


def test_no_title_and_no_identity_holds_a_path(own: Path, tmp_path: Path, tiny_voc: Path) -> None:
    names = tmp_path / "mine.txt"
    names.write_text("\n".join(f"thing {i}, it {i}" for i in range(20)))
    for place in ("prompts", "elsewhere"):
        for number in range(20):
            folder = tmp_path / place / f"thing_{number}"
            folder.mkdir(parents=True)
            Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(folder / f"{place}.png")
    moved = tmp_path / "moved.txt"
    shutil.copy(names, moved)
    found = [
        run_of(
            load_method("constant", device="cpu"),
            load_dataset("voc", root=tiny_voc, names=chosen, prompts=tmp_path / shown),
        ).identity()
        for chosen, shown in ((names, "prompts"), (moved, "elsewhere"))
    ]
    assert found[0]["vocabulary"]["source"] == "mine.txt"
    assert identity_digest(found[0]) == identity_digest(found[1])
    assert str(tmp_path) not in str(found)
    result = measured(own)
    assert Conditions.of(result).words(3).startswith("folder (own) all, 3 images, with background, "
                                                     "names classes.txt (")  # fmt: skip
    assert str(tmp_path) not in str({**result, "environment": None})
    absent = "2 of 3 scored classes have no pixel in the ground truth: background, dog"
    assert absent in result["run"]["warnings"]


def test_a_run_directory_may_be_moved(own: Path, tmp_path: Path) -> None:
    method = load_method("constant", device="cpu")
    first = evaluate(method, load_dataset("folder", root=own), output=tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "archive")
    again = evaluate(method, load_dataset("folder", root=own), output=tmp_path / "archive")
    assert again == first


def test_names_of_a_file_that_is_gone_are_known_by_the_run(tiny_voc: Path, tmp_path: Path) -> None:
    names = tmp_path / "mine.txt"
    names.write_text("the rest\n" + "\n".join(f"thing {i}, it {i}" for i in range(20)))
    for chosen in ({}, {"subset": "unseen5-only"}, {"background": "ignore"}):
        dataset = load_dataset("voc", root=tiny_voc, names=names, **chosen)  # type: ignore[arg-type]
        identity = run_of(load_method("constant", device="cpu"), dataset).identity()
        names.rename(tmp_path / "gone")
        found = load_recorded(identity, root=tiny_voc)
        assert found.vocabulary == dataset.vocabulary
        assert (found.load(0).label == dataset.load(0).label).all()
        (tmp_path / "gone").rename(names)
