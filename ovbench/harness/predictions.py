"""Label maps made elsewhere, scored like a method's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ovbench.errors import DataError, UsageError
from ovbench.harness.counting import Candidates
from ovbench.harness.images import read_label
from ovbench.harness.methods import Subject
from ovbench.harness.protocol import Dataset, LabelMap, Runtime, Sample
from ovbench.harness.runner import Observer, Options, Run

LABEL_FILES = "label files"
"""In place of a method's version."""

Encoding: TypeAlias = Literal["index", "dataset"]


@dataclass(frozen=True, slots=True)
class PredictionFolder:
    """A folder with one ``<image id>.png`` per image.

    Attributes:
        encoding: "index" where values index the vocabulary, "dataset" where they are encoded
            as the dataset's own label files.
    """

    folder: Path
    dataset: Dataset
    encoding: Encoding

    def prepare(self) -> Sequence[str]:
        """Nothing to prepare."""
        return ()

    def predict(self, samples: Sequence[Sample], candidates: Candidates) -> Sequence[LabelMap]:
        """Read the label maps of the samples."""
        return [self._read(sample.id) for sample in samples]

    def _read(self, image: str) -> LabelMap:
        path = self.folder / f"{image}.png"
        if not path.is_file():
            raise DataError(f"{path}: no prediction for image {image}")
        label = read_label(path)
        return self.dataset.decode(label, path) if self.encoding == "dataset" else label


def score_folder(
    folder: Path,
    dataset: Dataset,
    *,
    name: str | None = None,
    encoding: Encoding = "index",
    output: Path | None = None,
    kept: bool = False,
    options: Options | None = None,
    observer: Observer | None = None,
) -> dict[str, Any] | None:
    """Score a folder of label maps; see :func:`~ovbench.harness.runner.evaluate`.

    A prediction may hold the ignore label where the ground truth does, so label files that
    carry void regions score as they should.

    Args:
        folder: holds one PNG per image.
        name: shown in tables in place of a method's; the default is the folder's name.
        encoding: see :class:`PredictionFolder`.
        kept: see :meth:`~ovbench.harness.runner.Run.execute`.

    Raises:
        UsageError: no such folder.
        DataError: a label map is missing, unreadable or of the wrong size.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    subject = Subject(
        name or folder.resolve().name,
        LABEL_FILES,
        Runtime(),
        settings={"encoding": encoding, "files_sha256": _listing_digest(folder)},
    )
    predictor = PredictionFolder(folder, dataset, encoding)
    run_options = replace(options or Options(), allow_ignored=True)
    return Run(predictor, subject, dataset, run_options, observer).execute(output, kept=kept)


def _listing_digest(folder: Path) -> str:
    """Changes when a file does: a run must not be resumed over other predictions."""
    listing = (
        f"{path.relative_to(folder)} {(stat := path.stat()).st_size} {stat.st_mtime_ns}"
        for path in sorted(folder.rglob("*.png"))
    )
    return hashlib.sha256("\n".join(listing).encode()).hexdigest()
