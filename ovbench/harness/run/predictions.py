"""Label maps made elsewhere, scored like a method's."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from ovbench.errors import DataError, UsageError
from ovbench.harness.contract.arrays import LabelMap
from ovbench.harness.contract.datasets import Dataset, DatasetInfo, Sample
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.version import LABEL_FILES
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.files.below import leads_outside
from ovbench.harness.files.digests import digest_of_files
from ovbench.harness.files.images import read_label
from ovbench.harness.registry.methods import Subject
from ovbench.harness.results.readings import Agreement
from ovbench.harness.run.counting import Candidates, UnansweredRule
from ovbench.harness.run.runner import Observer, Options, Run

PROBED = 32
"""Images, spread over the dataset, on which other readings of the files are tried."""

CITYSCAPES_END = "_leftImg8bit"
"""What may stand between an image's name and whatever else Cityscapes' own script accepts."""

Encoding: TypeAlias = Literal["index", "dataset"]


@dataclass(frozen=True, eq=False)
class PredictionFiles:
    """The label maps in a folder, one PNG per image.

    The file of an image is ``<id>.png``; where ids hold folders, the last part will do if no
    other image has it, and behind it may stand ``_leftImg8bit`` and more, as Cityscapes' own
    evaluation finds them.
    """

    folder: Path
    ids: Sequence[str]

    def find(self, image: str) -> Path:
        """The file of an image.

        Raises:
            DataError: there is none, or more than one.
        """
        exact = self.folder / f"{image}.png"
        last = image.rpartition("/")[2]
        if leads_outside(image):
            raise DataError(f"{self.folder}: {image[:80]!r} would lie outside of it")
        if os.path.lexists(exact):
            return exact
        if self._times[last] == 1:
            flat = self.folder / f"{last}.png"
            found = [flat] if os.path.lexists(flat) else self._cityscapes.get(last, [])
            if len(found) > 1:
                raise DataError(f"{found[0]}: {found[1]} is a prediction for {image}, too")
            if found:
                return found[0]
        raise DataError(f"{exact}: no prediction for image {image}")

    def digest(self) -> str:
        """Changes when a file does: a run must not be resumed over other predictions."""
        return digest_of_files(((name, self._file(name)) for name in self.ids), "digests of files")

    def _file(self, image: str) -> Path:
        try:
            return self.find(image)
        except DataError:  # named when it is asked for
            return self.folder / f"{image}.png"

    @cached_property
    def _times(self) -> Counter[str]:
        """How many images have the same last part."""
        return Counter(image.rpartition("/")[2] for image in self.ids)

    @cached_property
    def _cityscapes(self) -> Mapping[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for path in sorted(self.folder.rglob(f"*{CITYSCAPES_END}*.png")):
            found.setdefault(path.name.partition(CITYSCAPES_END)[0], []).append(path)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class AnsweredSample(Sample):
    """A sample with the label map that somebody made for it.

    Attributes:
        answer: ``(H, W)`` unsigned, values index the vocabulary or equal the ignore label.
    """

    answer: LabelMap = field(kw_only=True)


@dataclass(frozen=True, eq=False)
class AnsweredDataset:
    """A dataset whose samples bring their label maps: what cannot be read is a bad image.

    Attributes:
        encoding: "index" where values index the vocabulary, "dataset" where they are encoded
            as the dataset's own label files.
        unanswered: see :data:`~ovbench.harness.run.counting.UnansweredRule`.
    """

    base: Dataset
    files: PredictionFiles
    encoding: Encoding
    unanswered: UnansweredRule

    @property
    def info(self) -> DatasetInfo:
        """See :class:`~ovbench.Dataset`."""
        return self.base.info

    @property
    def vocabulary(self) -> Vocabulary:
        """See :class:`~ovbench.Dataset`."""
        return self.base.vocabulary

    @property
    def ids(self) -> Sequence[str]:
        """See :class:`~ovbench.Dataset`."""
        return self.base.ids

    def decode(self, raw: LabelMap, source: Path) -> LabelMap:
        """See :class:`~ovbench.Dataset`."""
        return self.base.decode(raw, source)

    def load(self, index: int) -> AnsweredSample:
        """Read a sample and its label map.

        Raises:
            DataError: either cannot be read, the map has another size, a value that stands for
                no label, or none where one is due; names the file.
        """
        sample = self.base.load(index)
        path = self.files.find(sample.id)
        raw = read_label(path)
        if raw.shape != sample.label.shape:
            raise DataError(
                f"{path}: {raw.shape[1]}x{raw.shape[0]} pixels, but image {sample.id} has "
                f"{sample.label.shape[1]}x{sample.label.shape[0]}"
            )
        answer = self.decode(raw, path) if self.encoding == "dataset" else self._indices(raw, path)
        if self.unanswered == "error":
            self._require_answers(sample, raw, answer, path)
        return AnsweredSample(sample.id, sample.image, sample.label, sample.prompt, answer=answer)

    def doubts(self) -> tuple[str, ...]:
        """What a result should say if the files seem to be written in another encoding."""
        agreement, count = Agreement(), len(self.ids)
        for index in sorted({i * count // PROBED for i in range(PROBED)} if count else ()):
            try:
                sample = self.base.load(index)
                path = self.files.find(sample.id)
                agreement.add(sample, read_label(path), self.base, path)
            except DataError:
                continue  # the run itself says what is wrong with it
        better = agreement.better(self.encoding)
        if better is None:
            return ()
        reading, here, there = better
        return (
            f"--encoding {self.encoding} may be wrong: --encoding {reading} would raise pixel "
            f"accuracy, on the images that were tried, from {here:.1f} to {there:.1f}",
        )

    def _indices(self, raw: LabelMap, path: Path) -> LabelMap:
        strays = (raw >= len(self.vocabulary)) & (raw != self.info.ignore_label)
        if not strays.any():
            return raw
        try:
            self.decode(raw, path)
            advice = (
                "its values are ones of the dataset's own files, which --encoding dataset reads"
            )
        except DataError:
            advice = "--encoding dataset would refuse it, too"
        raise DataError(
            f"{path}: holds the value {raw[strays].min()}; with --encoding index values are 0 to "
            f"{len(self.vocabulary) - 1}; {advice}"
        )

    def _require_answers(self, sample: Sample, raw: LabelMap, answer: LabelMap, path: Path) -> None:
        void = self.info.ignore_label
        missing = (answer == void) & (sample.label != void)
        if missing.any():
            values = ", ".join(map(str, np.unique(raw[missing]).tolist()))
            raise DataError(
                f"{path}: the value {values} is no label, on {np.count_nonzero(missing)} pixels of "
                f"image {sample.id} that are scored; --unanswered miss counts them as wrong "
                "(mmsegmentation, ADE20K, Cityscapes, MESS), --unanswered ignore leaves them out "
                "(detectron2)"
            )


class PredictionFolder:
    """Hands over the label maps that samples bring."""

    def prepare(self) -> Sequence[str]:
        """Nothing to prepare."""
        return ()

    def predict(self, samples: Sequence[Sample], candidates: Candidates) -> Sequence[LabelMap]:
        """The label maps of the samples."""
        return [sample.answer for sample in samples if isinstance(sample, AnsweredSample)]


def score_folder(
    folder: Path,
    dataset: Dataset,
    *,
    name: str | None = None,
    encoding: Encoding = "index",
    unanswered: UnansweredRule = "error",
    output: Path | None = None,
    kept: bool = False,
    options: Options | None = None,
    observer: Observer | None = None,
) -> dict[str, Any] | None:
    """Score a folder of label maps; see :func:`~ovbench.harness.run.runner.evaluate`.

    A prediction may hold the ignore label where the ground truth does, so label files that
    carry void regions score as they should.

    Args:
        folder: holds one PNG per image, see :class:`PredictionFiles`.
        name: shown in tables in place of a method's; the default is the folder's name.
        encoding: see :class:`AnsweredDataset`.
        unanswered: see :data:`~ovbench.harness.run.counting.UnansweredRule`.
        kept: see :meth:`~ovbench.harness.run.runner.Run.execute`.

    Raises:
        UsageError: no such folder.
        DataError: a label map is missing, unreadable or of the wrong size.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    files = PredictionFiles(folder, dataset.ids)
    answered = AnsweredDataset(dataset, files, encoding, unanswered)
    subject = Subject(
        name or os.fsencode(folder.resolve().name).decode("utf-8", "replace"),
        LABEL_FILES,
        Runtime(),
        settings={
            "encoding": encoding,
            "unanswered": unanswered,
            "files_sha256": files.digest(),
        },
        warnings=answered.doubts(),
    )
    run_options = replace(options or Options(), unanswered=unanswered)
    run = Run(PredictionFolder(), subject, answered, run_options, observer)
    try:
        return run.execute(output, kept=kept)
    except DataError as error:
        if not subject.warnings:
            raise
        # A value that seems to be wrong is more likely one of another encoding.
        raise DataError(f"{error}; {subject.warnings[0]}") from None
