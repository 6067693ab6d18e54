"""Is a dataset on disk whole? Reads every sample and reports what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ovbench.harness.loader import prefetch
from ovbench.harness.protocol import Dataset, Sample


@dataclass
class VerifyReport:
    """What was found.

    Attributes:
        title: dataset and split.
        names: of the labels.
        warnings: what a result will carry, such as an unofficial number of images.
        problems: files that are missing, corrupt or inconsistent, one line each.
        readable: samples that could be read.
        pixels: per label, ``(labels,)``.
        ignored: pixels that are not scored.
        smallest, largest: (height, width) of the images with the fewest and most pixels.
    """

    title: str
    names: tuple[str, ...]
    warnings: list[str]
    pixels: npt.NDArray[np.int64]
    problems: list[str] = field(default_factory=list)
    readable: int = 0
    ignored: int = 0
    smallest: tuple[int, int] = (0, 0)
    largest: tuple[int, int] = (0, 0)

    def lines(self) -> list[str]:
        """The report as text."""
        total = int(self.pixels.sum()) + self.ignored
        lines = [
            f"{self.title}: {self.readable} images read",
            f"image sizes from {_size(self.smallest)} to {_size(self.largest)}, "
            f"{total} pixels, {_share(self.ignored, total)} of them not scored",
        ]
        for name, count in zip(self.names, self.pixels.tolist(), strict=True):
            lines.append(f"  {name:24} {_share(count, total):>8}")
        lines += [f"warning: {warning}" for warning in self.warnings]
        lines += [f"problem: {problem}" for problem in self.problems]
        lines.append(f"{len(self.problems)} problems, {len(self.warnings)} warnings")
        return lines


def verify(dataset: Dataset, progress: Callable[[int], object] | None = None) -> VerifyReport:
    """Read every sample of a dataset.

    Args:
        progress: called with the number of samples done.
    """
    info, names = dataset.info, dataset.vocabulary.names
    report = VerifyReport(
        f"{info.name} {info.split}",
        names,
        info.count_warnings(len(dataset.ids)),
        np.zeros(len(names), dtype=np.int64),
    )
    with closing(prefetch(dataset, range(len(dataset.ids)))) as stream:
        for done, loaded in enumerate(stream, start=1):
            if loaded.sample is None:
                report.problems.append(str(loaded.error))
            else:
                _count(report, loaded.sample)
            if progress:
                progress(done)
    if absent := [n for n, count in zip(names, report.pixels, strict=True) if count == 0]:
        report.warnings.append(f"no pixel of {', '.join(absent)}")
    return report


def _count(report: VerifyReport, sample: Sample) -> None:
    counts = np.bincount(sample.label.ravel(), minlength=len(report.names))
    report.pixels += counts[: len(report.names)]
    report.ignored += int(counts[len(report.names) :].sum())
    size = (sample.label.shape[0], sample.label.shape[1])
    if report.readable == 0:
        report.smallest = report.largest = size
    report.smallest = min(report.smallest, size, key=lambda s: s[0] * s[1])
    report.largest = max(report.largest, size, key=lambda s: s[0] * s[1])
    report.readable += 1


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "–"
