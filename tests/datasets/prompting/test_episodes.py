"""The three image-prompted benchmarks: layouts, draws, masks, and that nothing leaks."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_episodes import Bytes, coco, corner, fss, mask_file, perseg, picture

from ovbench.datasets import load_dataset
from ovbench.datasets.coco20i import FOLDS, draw, read_lists
from ovbench.datasets.fss1000 import class_folders
from ovbench.datasets.fss1000 import draw as draw_fss
from ovbench.errors import DataError, UsageError
from ovbench.harness.contract.datasets import Dataset
from ovbench.harness.files.images import write_label
from ovbench.harness.run.runner import Options, evaluate

# Of the episodes' names: an accidental change of the draws is noticed.
FSS_DIGEST, COCO_DIGEST = "3f2798f268227282", "1b0a16566ce05182"


# PerSeg


def test_perseg_looks_for_each_object_as_its_first_picture_shows_it(tmp_path: Path) -> None:
    dataset = load_dataset("perseg", root=perseg(tmp_path, duck_toy=3, cat=2, clock=2))
    assert list(dataset.ids) == ["cat/01", "clock/01", "duck_toy/01", "duck_toy/02"]
    assert dataset.vocabulary.names == ("background", "cat", "clock", "duck toy")
    assert dataset.info.scored == (1, 2, 3)
    sample = dataset.load(3)
    assert (sample.label == corner(3, 3)).all()
    assert sample.prompt is not None
    assert sample.prompt.labels == (0, 3)
    (query,) = sample.prompt.vocabulary.classes
    (shown,) = query.exemplars
    assert query.name == "duck toy"
    assert (shown.mask == (corner(1) > 0)).all()
    # Two pictures of an object share the prompt, two objects do not.
    ids = [dataset.load(i).prompt.id for i in range(4)]  # type: ignore[union-attr]
    assert ids[2] == ids[3] != ids[1] != ids[0]


def test_a_perseg_mask_of_colours(tmp_path: Path) -> None:
    perseg(tmp_path, cat=2)
    colours = np.zeros((6, 8, 3), np.uint8)
    colours[:2, :5] = (0, 0, 128)
    mask_file(tmp_path / "PerSeg" / "Annotations" / "cat" / "01.png", colours)
    assert load_dataset("perseg", root=tmp_path).load(0).label.sum() == 10


def test_what_is_wrong_with_a_perseg_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"perseg is not here; .*prepare perseg"):
        load_dataset("perseg", root=tmp_path)
    with pytest.raises(UsageError, match="its background and cannot be ignored"):
        load_dataset("perseg", root=perseg(tmp_path / "b", cat=2), background="ignore")
    with pytest.raises(UsageError, match="Images/cat: no pictures beside the reference"):
        load_dataset("perseg", root=perseg(tmp_path / "c", cat=1))
    with pytest.raises(UsageError, match="holds no objects"):
        load_dataset("perseg", root=perseg(tmp_path / "d", **{".hidden": 2}))
    root = perseg(tmp_path / "e", cat=2)
    reference = root / "PerSeg" / "Annotations" / "cat" / "00.png"
    write_label(reference, corner(0))
    with pytest.raises(DataError, match="the picture cat/00 shows nothing to look for"):
        load_dataset("perseg", root=root).load(0)
    write_label(reference, np.ones((2, 3), np.uint8))
    with pytest.raises(
        DataError, match="mask of cat/00: 3x2 pixels, but its image cat/00 has 8x6; the two"
    ):
        load_dataset("perseg", root=root).load(0)
    reference.unlink()
    with pytest.raises(DataError, match=r"Annotations/cat/00\.png: no such file"):
        load_dataset("perseg", root=root).load(0)


# FSS-1000


def hsnet_fss(folders: list[str]) -> list[tuple[str, str]]:
    """HSNet's loop, with the global generator that it draws from."""
    np.random.seed(0)
    found = []
    for folder in folders:
        for query in sorted(f"{folder}/{n}.jpg" for n in range(1, 11)):
            while True:
                support = np.random.choice(range(1, 11), 1, replace=False)[0]
                if f"{folder}/{support}.jpg" != query:
                    break
            found.append((query.removesuffix(".jpg"), f"{folder}/{support}"))
    return found


def test_the_classes_of_fss_are_the_published_240(sample_data: Path) -> None:
    published = (sample_data / "lists" / "fss1000_test_240.txt").read_text().split()
    assert class_folders() == sorted(published)


def test_fss_draws_what_hsnet_draws() -> None:
    folders = class_folders()
    episodes = list(draw_fss(folders))
    assert [(e.query, e.support) for e in episodes] == hsnet_fss(folders)
    assert len(episodes) == len({e.id for e in episodes}) == 2400
    assert all(e.query != e.support for e in episodes)
    assert [e.label for e in episodes] == [1 + i // 10 for i in range(2400)]
    digest = hashlib.sha256(repr([(e.query, e.support) for e in episodes]).encode()).hexdigest()
    assert digest[:16] == FSS_DIGEST


@pytest.mark.parametrize("home", ["fewshot_data", "FSS-1000", "fewshot_data/fewshot_data"])
def test_fss_is_read(tmp_path: Path, home: str) -> None:
    dataset = load_dataset("fss1000", root=fss(tmp_path, home, class_folders()))
    assert len(dataset.ids) == dataset.info.expected_images == 2400
    assert len(dataset.vocabulary) == 241
    sample = dataset.load(11)  # the second class's picture 10
    assert sample.id.endswith("/10")
    assert (sample.label == corner(6, 2)).all()
    assert dataset.decode(np.array([[240]], np.uint8), Path("x")).item() == 240
    with pytest.raises(DataError, match=r"x: label values \[241\] are unknown to fss1000"):
        dataset.decode(np.array([[241]], np.uint8), Path("x"))


def test_missing_classes_of_fss_are_counted(tmp_path: Path) -> None:
    folders = class_folders()
    with pytest.raises(UsageError, match=r"fss1000 is not here; .*it should hold fewshot_data"):
        load_dataset("fss1000", root=tmp_path)
    root = fss(tmp_path, "fewshot_data", folders[2:])
    with pytest.raises(UsageError, match=r"no such folder; 2 of the 240 test classes"):
        load_dataset("fss1000", root=root)


# COCO-20i


def hsnet_coco(classes: list[int], lists: dict[int, list[str]]) -> list[tuple[int, str, str]]:
    """HSNet's loop, with the global generator that it draws from."""
    np.random.seed(0)
    found = []
    for _ in range(1000):
        sampled = np.random.choice(classes, 1, replace=False)[0]
        query = np.random.choice(lists[sampled], 1, replace=False)[0]
        while True:
            support = np.random.choice(lists[sampled], 1, replace=False)[0]
            if query != support:
                break
        found.append((int(sampled), str(query), str(support)))
    return found


def some_lists(fold: int, sizes: int = 7) -> dict[int, list[str]]:
    return {
        c: [f"val2014/COCO_val2014_{100 * c + n:012d}.jpg" for n in range(2 + c % sizes)]
        for c in range(fold, 80, 4)
    }


@pytest.mark.parametrize("fold", range(FOLDS))
def test_coco_draws_what_hsnet_draws(fold: int) -> None:
    classes, lists = list(range(fold, 80, 4)), some_lists(fold)
    episodes = list(draw(classes, lists))
    ours = [(classes[e.label - 1], e.query, e.support) for e in episodes]
    assert ours == hsnet_coco(classes, lists)
    assert len({e.id for e in episodes}) == 1000


def test_the_draws_are_the_same_everywhere() -> None:
    episodes = draw(list(range(0, 80, 4)), some_lists(0))
    text = repr([(e.label, e.query, e.support) for e in episodes])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == COCO_DIGEST


def test_folds_divide_the_classes(tmp_path: Path) -> None:
    names: list[str] = []
    for fold in range(1, 4):
        root = coco(tmp_path / str(fold), fold)
        dataset = load_dataset("coco20i", root=root, split=f"fold{fold}")
        assert dataset.info.variant == "instances"
        assert len(dataset.ids) == dataset.info.expected_images == 1000
        names += dataset.vocabulary.names[1:]
    assert len(names) == len(set(names)) == 60
    assert names[:2] == ["bicycle", "bus"]


def test_an_image_with_too_little_of_a_class_is_not_drawn(tmp_path: Path) -> None:
    # In this file class 0 has 1,600 pixels everywhere.
    with pytest.raises(UsageError, match="coco20i needs at least two pictures of person"):
        load_dataset("coco20i", root=coco(tmp_path, 0))


def test_a_missing_coco_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"coco20i is not here; .*val2014.* prepare coco20i"):
        load_dataset("coco20i", root=tmp_path)


def test_a_coco_episode(tmp_path: Path) -> None:
    dataset = load_dataset("coco20i", root=coco(tmp_path, 1), split="fold1")
    sample = dataset.load(5)
    assert sample.prompt is not None
    (query,) = sample.prompt.vocabulary.classes
    label = sample.prompt.labels[1]
    assert dataset.vocabulary.names[label] == query.name
    assert set(np.unique(sample.label)) == {0, label}
    assert (sample.label > 0).sum() == 2500
    assert query.exemplars[0].mask is not None
    assert query.exemplars[0].mask.sum() == 2500


def test_coco_is_found_where_detectron2_has_it_and_titles_are_not_asked_for(
    tmp_path: Path,
) -> None:
    coco(tmp_path / "coco", 1)
    (tmp_path / "coco" / "images").mkdir()
    (tmp_path / "coco" / "val2014").rename(tmp_path / "coco" / "images" / "val2014")
    names = tmp_path / "names.txt"
    names.write_text("".join(f"class {i} = text {i}\n" for i in range(80)))
    dataset = load_dataset("coco20i", root=tmp_path, split="fold1", names=names)
    sample = dataset.load(0)
    assert sample.prompt is not None
    label = sample.prompt.labels[1]
    assert dataset.vocabulary.names[label].startswith("class ")
    (query,) = sample.prompt.vocabulary.classes
    assert query.name == dataset.vocabulary.classes[label - 1].name
    assert query.name.startswith("text ")


def test_hsnet_s_own_lists_and_masks(tmp_path: Path) -> None:
    lists = some_lists(2, sizes=1)
    path = tmp_path / "splits" / "coco" / "val" / "fold2.pkl"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(lists))
    for c, names in lists.items():
        for n, name in enumerate(names):
            picture(tmp_path / "COCO2014" / name, (6, 8))
            label = tmp_path / "COCO2014" / "annotations" / name
            mask_file(label.with_suffix(".png"), corner(2 + n, c + 1))
    dataset = load_dataset("coco20i", root=tmp_path, split="fold2")
    assert dataset.info.variant == "hsnet"
    first = hsnet_coco(list(range(2, 80, 4)), lists)[0]
    assert dataset.ids[0] == f"0000-{Path(first[1]).stem}"
    sample = dataset.load(0)
    label = 1 + first[0] // 4
    assert (sample.label == corner(2 + lists[first[0]].index(first[1]), label)).all()
    shutil.rmtree(tmp_path / "COCO2014" / "annotations")
    with pytest.raises(UsageError, match="HSNet's lists need its label files"):
        load_dataset("coco20i", root=tmp_path, split="fold2")


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({0: Harmful()}), r"not HSNet's lists \(it refers to builtins\.exec\)"),
        (b"", "not HSNet's lists"),
        (pickle.dumps([1, 2]), "a dictionary of lists"),
        (pickle.dumps({"a": 3}), "a dictionary of lists"),
        # Two draws that must differ would never end.
        (pickle.dumps({0: ["a.jpg", "a.jpg"]}), "a picture of class 0 is listed more than once"),
        (pickle.dumps({0: ["a.jpg", 7]}), "'7' of class 0 is no picture below"),
        (pickle.dumps({0: ["../a.jpg"]}), "'../a.jpg' of class 0 is no picture below"),
    ],
)
def test_a_pickle_runs_nothing(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "fold0.pkl").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_lists(tmp_path / "fold0.pkl")
    with pytest.raises(UsageError, match="cannot be read"):
        read_lists(tmp_path / "fold1.pkl")


# All of them


class Truth:
    """Answers with what the dataset says, which a method never sees."""

    def __init__(self, dataset: Dataset, most: int = 10) -> None:
        count = min(most, len(dataset.ids))
        self.maps = [(dataset.load(i).label > 0).astype(np.uint8) for i in range(count)]
        self.position = 0

    def prepare(self, vocabulary: Any) -> None:
        assert len(vocabulary) == 2

    def segment(self, images: Any, candidates: Any = None) -> list[Bytes]:
        first = self.position
        self.position += len(images)
        return self.maps[first : self.position]


def test_the_truth_scores_100(tmp_path: Path) -> None:
    dataset = load_dataset("perseg", root=perseg(tmp_path, duck_toy=4, cat=5))
    result = evaluate(Truth(dataset), dataset, output=tmp_path / "run", options=Options())
    assert result is not None
    assert result["metrics"]["miou"] == 100
    assert result["metrics"]["definitions"]["per_image"] == 100


def test_a_query_s_own_mask_never_reaches_its_prompt(tmp_path: Path) -> None:
    root = perseg(tmp_path, cat=3)
    before = load_dataset("perseg", root=root).load(0)
    write_label(root / "PerSeg" / "Annotations" / "cat" / "01.png", corner(5, 1))
    after = load_dataset("perseg", root=root).load(0)
    assert (before.label != after.label).any()
    for sample in (before, after):
        assert sample.prompt is not None
        shown = sample.prompt.vocabulary.classes[0].exemplars[0]
        assert (shown.mask == (corner(1) > 0)).all()
