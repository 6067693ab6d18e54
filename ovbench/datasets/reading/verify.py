"""Is a dataset on disk whole? Reads every sample and reports what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ovbench.harness.contract.datasets import Dataset, DatasetInfo, Sample
from ovbench.harness.files.loader import prefetch

SHOWN = 5
"""Names in a line; the table of the report has all of them."""


@dataclass
class VerifyReport:
    """What was found.

    Attributes:
        names: of the labels.
        warnings: what a result will carry, such as an unofficial number of images.
        problems: files that are missing, corrupt or inconsistent, one line each.
        readable: samples that could be read.
        pixels: per label, ``(labels,)``.
        images: that hold the label, ``(labels,)``.
        ignored: pixels that are not scored.
        smallest, largest: (height, width) of the images with the fewest and most pixels.
    """

    names: tuple[str, ...]
    pixels: npt.NDArray[np.int64]
    images: npt.NDArray[np.int64]
    info: DatasetInfo
    listed: int
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    readable: int = 0
    ignored: int = 0
    smallest: tuple[int, int] = (0, 0)
    largest: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, dataset: Dataset) -> VerifyReport:
        """The report before anything was read."""
        info, names = dataset.info, dataset.vocabulary.names
        report = cls(
            names,
            np.zeros(len(names), dtype=np.int64),
            np.zeros(len(names), dtype=np.int64),
            info,
            len(dataset.ids),
            info.count_warnings(len(dataset.ids)),
        )
        twice = [image for image, times in Counter(dataset.ids).items() if times > 1]
        report.problems += [f"image {image}: is there more than once" for image in twice]
        return report

    @property
    def ok(self) -> bool:
        """Whether every sample can be scored; warnings do not count."""
        return not self.problems

    def add(self, sample: Sample) -> None:
        """Take one sample in."""
        size = (sample.image.shape[0], sample.image.shape[1])
        length = max(len(self.names), self.info.ignore_label + 1)
        counts = np.bincount(sample.label.ravel(), minlength=length)
        ignored = int(counts[self.info.ignore_label])
        counts[self.info.ignore_label] = 0
        strays = len(self.names) + np.flatnonzero(counts[len(self.names) :])
        if sample.label.shape != size:
            self.problems.append(f"image {sample.id}: its label map has another size")
        elif strays.size:
            self.problems.append(f"image {sample.id}: labels {strays.tolist()} do not exist")
        else:
            self.pixels += counts[: len(self.names)]
            self.images += counts[: len(self.names)] > 0
            self.ignored += ignored
            self._take_size(size)

    def lines(self) -> list[str]:
        """The report as text."""
        variant = f" ({self.info.variant})" if self.info.variant else ""
        lines = [
            f"{self.info.name}{variant} {self.info.split}: {self.readable} of {self.listed} "
            "images read",
            *(self._contents() if self.readable else ()),
        ]
        lines += [f"warning: {warning}" for warning in self.warnings]
        lines += [f"problem: {problem}" for problem in self.problems]
        lines.append(f"{len(self.problems)} problems, {len(self.warnings)} warnings")
        return lines

    def _contents(self) -> Iterator[str]:
        """What the images hold that could be read."""
        total = int(self.pixels.sum()) + self.ignored
        yield (
            f"image sizes from {_size(self.smallest)} to {_size(self.largest)}, "
            f"{total} pixels, {_share(self.ignored, total)} of them not scored"
        )
        rows = zip(self.names, self.pixels.tolist(), self.images.tolist(), strict=True)
        for name, pixels, images in rows:
            yield f"  {name:24} {_share(pixels, total):>8} of pixels, in {images} images"

    def content(self) -> dict[str, Any]:
        """The report for machines, JSON-ready; sizes are [width, height]."""
        rows = zip(self.names, self.pixels.tolist(), self.images.tolist(), strict=True)
        return {
            "dataset": self.info.name,
            "split": self.info.split,
            "variant": self.info.variant,
            "background": self.info.background,
            "images": self.listed,
            "expected_images": self.info.expected_images,
            "readable": self.readable,
            "smallest": self.smallest[::-1],
            "largest": self.largest[::-1],
            "ignored_pixels": self.ignored,
            "per_class": [{"name": n, "pixels": p, "images": i} for n, p, i in rows],
            "warnings": self.warnings,
            "problems": self.problems,
        }

    def _take_size(self, size: tuple[int, int]) -> None:
        if self.readable == 0:
            self.smallest = self.largest = size
        self.smallest = min(self.smallest, size, key=_area)
        self.largest = max(self.largest, size, key=_area)
        self.readable += 1


def verify(
    dataset: Dataset,
    progress: Callable[[int], object] | None = None,
    *,
    workers: int | None = None,
) -> VerifyReport:
    """Read every sample of a dataset and collect everything that is wrong with it.

    Args:
        progress: called with the number of samples done.
        workers: threads that read; None chooses by the machine.
    """
    report = VerifyReport.of(dataset)
    with closing(prefetch(dataset, range(len(dataset.ids)), workers=workers)) as stream:
        for done, loaded in enumerate(stream, start=1):
            if loaded.sample is None:
                report.problems.append(str(loaded.error))
            else:
                report.add(loaded.sample)
            if progress:
                progress(done)
    absent = [n for n, count in zip(report.names, report.pixels, strict=True) if count == 0]
    if absent and report.readable:
        more = f" and {len(absent) - SHOWN} more classes" if len(absent) > SHOWN else ""
        report.warnings.append(f"no pixel of {', '.join(absent[:SHOWN])}{more}")
    return report


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "–"
