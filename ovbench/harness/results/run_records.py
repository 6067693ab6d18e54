"""Everything the shards of a run hold, each image once, without keeping their lines in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ovbench.errors import UsageError
from ovbench.harness.metrics.resized import Foreground
from ovbench.harness.metrics.tally import Tally
from ovbench.harness.results.records import (
    BadImage,
    Cost,
    ImageRecord,
    Record,
    Session,
    counts_of,
)


class Line(NamedTuple):
    """Where a record stands.

    Attributes:
        start: its first byte in the shard.
    """

    shard: Path
    start: int


class ImageRecords(Mapping[str, ImageRecord]):
    """The record of every image; it is read again whenever it is asked for.

    Args:
        read: a record from its line.
    """

    def __init__(self, read: Callable[[Line], Record]) -> None:
        self._read = read
        self._lines: dict[str, Line] = {}

    def __getitem__(self, image: str) -> ImageRecord:
        """
        Raises:
            KeyError: there is none.
            UsageError: its shard was changed since it was first read.
        """
        line = self._lines[image]
        try:
            record = self._read(line)
        except ValueError:
            record = None
        if not isinstance(record, ImageRecord) or record.image != image:
            raise UsageError(f"{line.shard}: changed while it was read")
        return record

    def __contains__(self, image: object) -> bool:
        return image in self._lines

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def put(self, image: str, line: Line) -> None:
        """Say where an image's record stands."""
        self._lines[image] = line


class RunRecords:
    """What the shards of a run hold.

    Attributes:
        images: in order of the rows of what follows.
        bad: images that could not be read, by their names.
        sessions: processes that took part.
        tally: the counts of all images.
        costs: of each image.
        resized: of those that were scored at others' sizes, see
            :class:`~ovbench.harness.results.records.ImageRecord`.
        asked: of these, the highest label that each shows or was answered with: a prompted image
            knows background and one class.

    Args:
        num_labels: size of the vocabulary.
        read: a record from its line.
    """

    def __init__(self, num_labels: int, read: Callable[[Line], Record]) -> None:
        self.images = ImageRecords(read)
        self.bad: dict[str, BadImage] = {}
        self.sessions: list[Session] = []
        self.tally = Tally(num_labels)
        self.costs: list[Cost] = []
        self.asked: list[int] = []
        self.resized: list[Mapping[str, Foreground]] = []

    def add(self, record: Record, line: Line) -> None:
        """Take one record in; a good record of an image outdoes a bad one, in any order.

        Raises:
            ValueError: the image was recorded before, with other counts.
        """
        if isinstance(record, Session):
            self.sessions.append(record)
        elif isinstance(record, BadImage):
            if record.image not in self.images:
                self.bad[record.image] = record
        elif record.image not in self.images:
            self.images.put(record.image, line)
            self._count(record)
            self.bad.pop(record.image, None)
        elif counts_of(self.images[record.image]) != counts_of(record):
            raise ValueError(f"{record.image!r} is recorded twice, with different counts")

    def _count(self, record: ImageRecord) -> None:
        counted = record.confusion
        self.tally.add(counted, record.boundary)
        self.costs.append(record.cost)
        if record.resized:
            self.asked.append(int(max(counted.gt.max(initial=0), counted.pred.max(initial=0))))
            self.resized.append(record.resized)

    def rows(self, images: Iterable[str]) -> list[int]:
        """Where images stand in ``tally``.

        Raises:
            KeyError: an image has no record.
        """
        places = {image: row for row, image in enumerate(self.images)}
        return [places[image] for image in images]
