from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovbench.datasets import load_dataset
from ovbench.datasets.choosing.subsets import SUBSETS, subset_names
from ovbench.errors import UsageError
from ovbench.harness.contract.datasets import Dataset
from ovbench.harness.files.images import write_label
from ovbench.harness.run.runner import Options, evaluate

UNSEEN = {
    "voc": {"unseen5": [15, 16, 17, 18, 19]},
    "cocostuff": {
        "unseen15": [19, 23, 28, 29, 36, 51, 76, 88, 94, 112, 133, 136, 137, 157, 160],
    },
    # Positions in the alphabetical list of 59.
    "context": {"unseen4": [14, 19, 33, 48], "unseen10": [0, 6, 7, 14, 19, 24, 31, 33, 48, 54]},
}  # fmt: skip


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """One image with every value of VOC: 0..20 in its columns, void in the last."""
    home = tmp_path / "VOCdevkit" / "VOC2012"
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (home / part).mkdir(parents=True)
    (home / "ImageSets" / "Segmentation" / "val.txt").write_text("a\n")
    label = np.array([[*range(21), 255]] * 4, np.uint8)
    write_label(home / "SegmentationClass" / "a.png", label)
    Image.fromarray(np.zeros((*label.shape, 3), np.uint8)).save(home / "JPEGImages" / "a.jpg")
    return tmp_path


class Answers:
    """Answers with the same map, whatever it is asked."""

    def __init__(self, answer: np.typing.NDArray[np.uint8]) -> None:
        self.answer = answer

    def prepare(self, vocabulary) -> None:  # type: ignore[no-untyped-def]
        self.names = vocabulary.names

    def segment(self, images, candidates=None):  # type: ignore[no-untyped-def]
        return [self.answer for _ in images]


def label_of(dataset: Dataset) -> np.typing.NDArray[np.uint8]:
    return dataset.load(0).label[0].astype(np.uint8)


def test_asking_for_all_names_leaves_the_labels_as_they_are(voc: Path) -> None:
    dataset = load_dataset("voc", root=voc, subset="unseen5")
    assert label_of(dataset).tolist() == [*range(21), 255]
    assert dataset.info.scored == (16, 17, 18, 19, 20)
    assert dataset.info.subset == "unseen5"
    assert len(dataset.vocabulary) == 21
    assert load_dataset("voc20", root=voc, subset="unseen5").info.scored == (15, 16, 17, 18, 19)


def test_asking_for_these_names_drops_the_other_pixels(voc: Path) -> None:
    dataset = load_dataset("voc", root=voc, subset="unseen5-only")
    assert dataset.vocabulary.names == (
        "background", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
    )  # fmt: skip
    assert label_of(dataset).tolist() == [0, *[255] * 15, 1, 2, 3, 4, 5, 255]
    assert dataset.info.scored == (1, 2, 3, 4, 5)
    ignoring = load_dataset("voc20", root=voc, subset="unseen5-only")
    assert label_of(ignoring).tolist() == [*[255] * 16, 0, 1, 2, 3, 4, 255]
    assert ignoring.info.scored == (0, 1, 2, 3, 4)
    raw = np.array([[0, 3, 17, 255]], np.uint8)
    assert dataset.decode(raw, Path("x.png")).tolist() == [[0, 255, 2, 255]]


def test_the_two_readings_score_differently(voc: Path, tmp_path: Path) -> None:
    # Every class right but sheep, which is taken for cow (a "seen" class), and cow for sheep.
    everything = np.array([[*range(21), 0]] * 4, np.uint8)
    everything[:, 10], everything[:, 17] = 17, 10
    dataset = load_dataset("voc", root=voc, subset="unseen5")
    whole = evaluate(Answers(everything), dataset, output=tmp_path / "all", options=Options())
    assert whole["metrics"]["miou"] == pytest.approx(80)
    assert whole["metrics"]["pixel_accuracy"] == pytest.approx(80)
    assert whole["run"]["subset"] == "unseen5"
    assert sum(row["scored"] for row in whole["per_class"]) == 5
    # Asked for the five alone, cow's pixels are not scored: what is said of them costs nothing.
    only = np.array([[*[2] * 16, 1, 2, 3, 4, 5, 0]] * 4, np.uint8)
    only[:, 0] = 0
    dataset = load_dataset("voc", root=voc, subset="unseen5-only")
    alone = evaluate(Answers(only), dataset, output=tmp_path / "only", options=Options())
    assert alone["metrics"]["miou"] == pytest.approx(100)
    assert alone["run"]["id"] != whole["run"]["id"]


def test_other_names_are_the_same_classes(voc: Path) -> None:
    dataset = load_dataset("voc", root=voc, subset="unseen5-only", names="sclip")
    assert dataset.vocabulary.names[1:] == (
        "pottedplant", "sheep", "sofa", "train", "television monitor",
    )  # fmt: skip


@pytest.mark.parametrize("benchmark", SUBSETS)
def test_the_classes_have_their_published_numbers(benchmark: str) -> None:
    from ovbench.datasets.names import read_vocabulary

    count = {"voc": 20, "context": 59, "cocostuff": 171}[benchmark]
    names = read_vocabulary(benchmark, "plain", num_classes=count, background=False).names
    found = {
        subset: sorted(names.index(name) for name in classes)
        for subset, classes in SUBSETS[benchmark].items()
    }
    assert found == UNSEEN[benchmark]


def test_an_unknown_subset_is_one_clear_line(voc: Path) -> None:
    with pytest.raises(UsageError, match="no subset 'seen'; it has unseen5, unseen5-only"):
        load_dataset("voc", root=voc, subset="seen")
    with pytest.raises(UsageError, match="toyworld has no subset 'unseen5'; it has none"):
        load_dataset("toyworld", subset="unseen5")
    assert subset_names("context") == ["unseen4", "unseen4-only", "unseen10", "unseen10-only"]


def test_a_variant_of_a_benchmark_without_variants_is_refused(voc: Path) -> None:
    with pytest.raises(UsageError, match="voc has no variants; 'detail' cannot be chosen"):
        load_dataset("voc", root=voc, variant="detail")
