"""Time counting one image's confusions against torchmetrics and three histograms.

    python -m benchmarks.confusion [FOLDER]

FOLDER may hold label maps (PNG, uint8, 255 = ignored; searched recursively); predictions are
then those maps with their borders moved. The counts of all contestants are compared before
anything is timed.

- ovbench: :func:`ovbench.harness.metrics.scores.confusion`, all of its checks included.
- torchmetrics: ``multiclass_confusion_matrix`` as it comes, which checks its input too, and
  with ``validate_args=False``.
- three histograms: drop ignored pixels, then ``torch.histc`` in float32 of the hits, of the
  prediction and of the ground truth; it yields areas, not a matrix.

All of them start from the same uint8 maps.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torchmetrics.functional.classification import multiclass_confusion_matrix

from benchmarks.comparison import Row, in_turn, show
from ovbench.harness.metrics.scores import confusion
from ovbench.harness.metrics.tally import Tally

Labels = npt.NDArray[np.uint8]
SIZES = ((375, 500, 21), (480, 640, 171), (1024, 2048, 19))
IGNORE = 255


@dataclass(frozen=True, slots=True)
class Case:
    """One image to count."""

    name: str
    gt: Labels
    pred: Labels
    num_labels: int

    @property
    def pixels_per_run(self) -> float:
        """Mean length of a run of equal (gt, pred) pixels: 1 is noise."""
        gt, pred = self.gt.ravel(), self.pred.ravel()
        changes = (gt[1:] != gt[:-1]) | (pred[1:] != pred[:-1])
        return gt.size / (1 + int(np.count_nonzero(changes)))


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="label maps, PNG")
    parser.add_argument("--repeats", type=int, default=25)
    arguments = parser.parse_args()
    cases = list(read_cases(arguments.folder) if arguments.folder else made_cases())
    if not cases:
        parser.error(f"no label maps (PNG, one channel, 8 bits) below {arguments.folder}")
    show(rows(cases, arguments.repeats))


def rows(cases: Iterable[Case] | None = None, repeats: int = 25) -> Iterator[Row]:
    """Milliseconds per image, one thread each."""
    torch.set_num_threads(1)
    for case in cases or made_cases():
        check(case)
        spent = in_turn(contestants(case), repeats, per_second=1000)
        ours = spent.pop("ovbench")
        height, width = case.gt.shape
        name = f"{case.name}, {height}×{width}, {case.num_labels} labels"
        for against, theirs in spent.items():
            yield Row.of(name, against, "ms", ours, theirs)


def made_cases() -> Iterator[Case]:
    """Realistic maps at every size, then the worst case, noise."""
    rng = np.random.default_rng(0)
    for height, width, num_labels in SIZES:
        gt = blobs(rng, height, width, num_labels)
        yield Case("realistic", gt, moved(rng, gt), num_labels)
    for height, width, num_labels in SIZES:
        gt, pred = rng.integers(0, num_labels, (2, height, width), dtype=np.uint8)
        yield Case("noise", gt, pred, num_labels)


def read_cases(folder: Path) -> Iterator[Case]:
    """Every single-channel label map below a folder."""
    rng = np.random.default_rng(0)
    for path in sorted(folder.rglob("*.png")):
        gt = np.array(Image.open(path))
        if gt.ndim == 2 and gt.dtype == np.uint8:
            num_labels = int(gt[gt != IGNORE].max(initial=0)) + 1
            yield Case(path.stem, gt, moved(rng, gt), num_labels)


def smooth(rng: np.random.Generator, channels: int, height: int, width: int) -> torch.Tensor:
    """Random fields that vary over a quarter of the image's height."""
    cells = (4, max(1, round(4 * width / height)))
    coarse = torch.from_numpy(rng.standard_normal((1, channels, *cells)))
    size = (height, width)
    return torch.nn.functional.interpolate(coarse, size, mode="bicubic", align_corners=True)[0]


def blobs(rng: np.random.Generator, height: int, width: int, num_labels: int) -> Labels:
    """Eight classes in smooth shapes, with an ignored seam as annotators leave one.

    With its borders moved it has 20 - 60 pixels per run, like maps of VOC, ADE20K and
    Cityscapes.
    """
    present = rng.choice(num_labels, min(8, num_labels), replace=False)
    fields = smooth(rng, len(present), height, width)
    first, second = fields.topk(2, dim=0).values
    labels: Labels = present[fields.argmax(dim=0).numpy()].astype(np.uint8)
    labels[(first - second).numpy() < 0.02] = IGNORE
    return labels


def moved(rng: np.random.Generator, labels: Labels) -> Labels:
    """The map as a method might predict it: every border displaced by some pixels."""
    height, width = labels.shape
    dy, dx = (4 * smooth(rng, 2, height, width)).round().long().numpy()
    y, x = np.indices(labels.shape)
    shifted: Labels = labels[np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)]
    shifted[shifted == IGNORE] = labels.min()  # void is no answer
    return shifted


def three_histograms(
    gt: torch.Tensor, pred: torch.Tensor, num_labels: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Intersection, prediction and ground-truth areas of one image."""
    scored = gt != IGNORE
    gt, pred = gt[scored], pred[scored]
    hits = pred[pred == gt]

    def histogram(labels: torch.Tensor) -> torch.Tensor:
        return torch.histc(labels.float(), bins=num_labels, min=0, max=num_labels - 1)

    return histogram(hits), histogram(pred), histogram(gt)


def contestants(case: Case) -> Mapping[str, Callable[[], Any]]:
    """What is timed; the first is ours."""
    gt, pred, labels = torch.from_numpy(case.gt), torch.from_numpy(case.pred), case.num_labels

    def theirs(validate: bool) -> Any:
        return multiclass_confusion_matrix(
            pred, gt, labels, ignore_index=IGNORE, validate_args=validate
        )

    return {
        "ovbench": lambda: confusion(case.gt, case.pred, labels, IGNORE),
        "torchmetrics": lambda: theirs(True),
        "torchmetrics, unvalidated": lambda: theirs(False),
        "three histograms": lambda: three_histograms(gt, pred, labels),
    }


def check(case: Case) -> None:
    """All contestants count the same."""
    ours, *matrices, histograms = (run() for run in contestants(case).values())
    found = Tally.of([ours], case.num_labels)
    for other in matrices:
        np.testing.assert_array_equal(found.confusion[:, :-1], other.numpy())
    expected = found.areas().total
    for area, other in zip(
        (expected.intersection, expected.pred, expected.gt), histograms, strict=True
    ):
        np.testing.assert_array_equal(area, other.numpy())


if __name__ == "__main__":
    main()
