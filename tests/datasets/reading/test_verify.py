from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ovbench.datasets import load_dataset
from ovbench.datasets.reading.verify import verify
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import DatasetInfo, Sample
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.files.images import write_label


@dataclass
class Labels:
    """Samples with the label maps it is given."""

    maps: list[LabelMap]
    info: DatasetInfo = DatasetInfo("labels", "val", "none")  # noqa: RUF009 - it is frozen
    vocabulary: Vocabulary = Vocabulary.of("cat", "dog")  # noqa: RUF009 - it is frozen

    @property
    def ids(self) -> list[str]:
        return [f"image-{i}" for i in range(len(self.maps))]

    def load(self, index: int) -> Sample:
        image = np.zeros((4, 5, 3), np.uint8)
        return Sample(self.ids[index], image, self.maps[index])

    def decode(self, raw: LabelMap, source: Path) -> LabelMap:
        return raw


def test_a_whole_dataset(tiny_voc: Path) -> None:
    dataset = load_dataset("voc", root=tiny_voc)
    labels = [dataset.load(i).label for i in range(5)]
    seen: list[int] = []
    report = verify(dataset, seen.append)
    assert report.ok
    assert seen == [1, 2, 3, 4, 5]
    assert report.readable == 5
    assert report.names == dataset.vocabulary.names
    assert report.pixels.tolist() == [sum(int((m == v).sum()) for m in labels) for v in range(21)]
    assert report.ignored == sum(int((m == 255).sum()) for m in labels)
    assert report.smallest == min((m.shape for m in labels), key=np.prod)
    assert report.largest == max((m.shape for m in labels), key=np.prod)
    assert report.warnings[0] == "voc val has 5 images here; the official list has 1449"


def test_where_nothing_can_be_read_nothing_is_said_of_what_it_holds(tiny_voc: Path) -> None:
    for mask in (tiny_voc / "VOCdevkit" / "VOC2012" / "SegmentationClass").glob("*.png"):
        mask.rename(mask.with_suffix(".tif"))
    report = verify(load_dataset("voc", root=tiny_voc))
    first, *problems, last = [x for x in report.lines() if not x.startswith("warning: voc val has")]
    assert first == "voc val: 0 of 5 images read"
    assert len(problems) == 5
    assert re.fullmatch(
        r"problem: .*/(\w+)\.png: no such file, but \1\.tif is there; save it as \1\.png",
        problems[0],
    )
    assert last == "5 problems, 1 warnings"


def test_every_problem_is_found_and_named(tiny_voc: Path) -> None:
    home = tiny_voc / "VOCdevkit" / "VOC2012"
    missing = home / "SegmentationClass" / "2007_000027.png"
    strange = home / "SegmentationClass" / "2007_000042.png"
    broken = home / "JPEGImages" / "2007_000123.jpg"
    missing.unlink()
    write_label(strange, np.full((9, 9), 77, np.uint8))
    broken.write_bytes(broken.read_bytes()[:300])
    report = verify(load_dataset("voc", root=tiny_voc))
    assert not report.ok
    assert report.readable == 2
    assert [problem.split(": ")[0] for problem in report.problems] == [
        str(missing), str(strange), str(broken)
    ]  # fmt: skip
    assert report.lines()[-1].startswith("3 problems")


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        (np.full((4, 5), 2, np.uint8), r"image image-1: labels \[2\] do not exist"),
        (np.full((4, 5), 256, np.uint16), r"image image-1: labels \[256\] do not exist"),
        (np.zeros((5, 4), np.uint8), "image image-1: its label map has another size"),
    ],
)
def test_a_dataset_that_breaks_its_word(label: LabelMap, problem: str) -> None:
    sound = np.zeros((4, 5), np.uint8)
    report = verify(Labels([sound, label, sound]))
    assert [line for line in report.lines() if line.startswith("problem: ")] == [
        f"problem: {p}" for p in report.problems
    ]
    (found,) = report.problems
    assert re.fullmatch(problem, found)
    assert (report.readable, report.pixels.tolist()) == (2, [40, 0])


def test_a_class_that_never_occurs_is_a_warning() -> None:
    report = verify(Labels([np.full((4, 5), 255, np.uint8), np.zeros((4, 5), np.uint8)]))
    assert report.ok
    assert report.warnings == ["no pixel of dog"]
    assert report.ignored == 20


def test_sizes_are_compared_by_area() -> None:
    class Shapes(Labels):
        def load(self, index: int) -> Sample:
            label = self.maps[index]
            return Sample(self.ids[index], np.zeros((*label.shape, 3), np.uint8), label)

    shapes = [(10, 100), (20, 10), (30, 8), (9, 40)]
    report = verify(Shapes([np.zeros(shape, np.uint8) for shape in shapes]))
    assert (report.smallest, report.largest) == ((20, 10), (10, 100))


def test_the_report_reads_well() -> None:
    label = np.repeat(np.array([[0, 1, 1, 255]], np.uint8), 5, axis=0).T
    assert verify(Labels([label])).lines() == [
        "labels val: 1 of 1 images read",
        "image sizes from 5x4 to 5x4, 20 pixels, 25.00 % of them not scored",
        "  cat                       25.00 % of pixels, in 1 images",
        "  dog                       50.00 % of pixels, in 1 images",
        "0 problems, 0 warnings",
    ]


def test_real_labels(sample_data: Path) -> None:
    report = verify(load_dataset("voc", root=sample_data / "voc"))
    assert report.ok
    assert report.readable == 9
    assert (report.smallest, report.largest) == ((319, 500), (500, 375))
    names = dict(zip(report.names, report.pixels.tolist(), strict=True))
    assert names["person"] == 61143 + 31780 + 36529 + 58474
    assert report.ignored == 8195 + 17285 + 8490 + 21996 + 8372 + 19958 + 6391


def test_many_absent_classes_are_not_all_named(tmp_path: Path) -> None:
    from test_folder import row, tree

    classes = "".join(f"class {i}\n" for i in range(150))
    report = verify(load_dataset("folder", root=tree(tmp_path, classes, one=row(3))))
    named = "no pixel of class 0, class 1, class 2, class 4, class 5 and 144 more classes"
    assert named in report.warnings
    assert all(len(line) < 200 for line in report.lines())
