"""Fetches, checks and unpacks a benchmark's official archives; goes on where it was cut short.

What is done is kept in ``<root>/.ovbench``: a note per archive, written when it is unpacked, and
the archives until then.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from ovbench.datasets.fetching.archives import BY_HAND, CATALOGUE, Archive
from ovbench.datasets.fetching.unpack import HOME, BrokenArchiveError, unpack, unpacked_bytes
from ovbench.errors import UsageError
from ovbench.harness.files.atomic import replacing
from ovbench.harness.files.download import FAILURES, Download, digest_of
from ovbench.harness.files.json_files import parse
from ovbench.harness.files.regular import regular

# Photographs do not shrink in archives, and label maps are small beside them.
_UNPACKED_SHARE = 1.1


class Observer(Protocol):
    """Watches a preparation."""

    def says(self, line: str) -> None:
        """What happens next, or was found."""

    def unpacking(self, archive: str, done: int, total: int) -> None:
        """How far an archive is unpacked, in files."""


@dataclass(frozen=True, slots=True)
class Note:
    """What is known of an archive that was unpacked to its end.

    Attributes:
        digest: of the archive, such as "sha256:…".
        folders: below the root, with the number of files it brought to each.
    """

    url: str
    digest: str
    folders: Mapping[str, int]

    @classmethod
    def read(cls, path: Path) -> Note | None:
        """The note in a file; None if there is none, or it says nothing of use."""
        with suppress(OSError, ValueError, TypeError):
            note = cls(**parse(regular(path).read_bytes()))
            counts = note.folders.values() if isinstance(note.folders, dict) else [None]
            if isinstance(note.digest, str) and all(isinstance(n, int) for n in counts):
                return note
        return None


def prepare(
    name: str,
    root: Path,
    observer: Observer,
    *,
    variant: str | None = None,
    keep_archives: bool = False,
) -> None:
    """Bring a benchmark's files below a root.

    An archive that already lies in the root, fetched by hand, is used and left there.

    Args:
        name: of a dataset.
        root: is made if it is not there.
        variant: which labels, where a benchmark has several.
        keep_archives: leave what was downloaded in ``<root>/.ovbench``.

    Raises:
        UsageError: nothing is known of the dataset or only a person can fetch it, the network or
            the disk does not allow it, or an archive is not what it should be.
    """
    steps = [_Step(archive, root) for archive in archives_of(name, root, variant)]
    with _alone(root):
        missing = [step for step in steps if not step.done]
        for step in steps:
            state = "" if step in missing else " (is here)"
            observer.says(f"{step.archive.name}{state}: {step.archive.terms}")
        _check_space(root, missing)
        for step in missing:
            step.execute(observer, keep_archives)


def archives_of(name: str, root: Path, variant: str | None) -> Sequence[Archive]:
    """What a dataset needs.

    Raises:
        UsageError: nothing is known of it, or only a person can fetch it.
    """
    if name in BY_HAND:
        raise UsageError(
            f"{name} cannot be fetched by a program: {BY_HAND[name].format(root=root)}"
        )
    if name not in CATALOGUE:
        raise UsageError(f"{name}: nothing to prepare, or not known how")
    variants = CATALOGUE[name]
    chosen = next(iter(variants)) if variant is None else variant
    if chosen not in variants:
        known = ", ".join(v for v in variants if v) or "no variants"
        raise UsageError(f"{name} has no variant {variant!r} to prepare; it has {known}")
    return variants[chosen]


@dataclass(frozen=True, slots=True)
class _Step:
    """One archive on its way below the root."""

    archive: Archive
    root: Path

    @property
    def download(self) -> Download:
        return Download(self.archive.url, self.root / HOME / self.archive.name)

    @property
    def done(self) -> bool:
        """Whether it was unpacked and is still there."""
        note = Note.read(self._note_path)
        return note is not None and all(
            _files_in(self.root / folder) >= count for folder, count in note.folders.items()
        )

    @property
    def _note_path(self) -> Path:
        # Two benchmarks may take different parts of one archive.
        part = "".join(f"+{name.strip('/').replace('/', '-')}" for name in self.archive.only)
        return self.root / HOME / f"{self.archive.name}{part}.json"

    @property
    def by_hand(self) -> Path:
        """Where a person may have put the archive."""
        return self.root / self.archive.name

    def execute(self, observer: Observer, keep_archive: bool) -> None:
        """Fetch, check and unpack."""
        downloaded = not self.by_hand.is_file()
        path = self.download.path if downloaded else self.by_hand
        if downloaded and not path.exists():
            self._fetch(observer)
        digest = self._check(path, observer, downloaded)
        try:
            found = self._unpack(path, observer)
        except BrokenArchiveError as error:
            raise UsageError(f"{error}; {self._discard(path, downloaded)}") from None
        folders = {(Path(self.archive.into) / f).as_posix(): n for f, n in found.items()}
        # Only now: what cannot be unpacked must not be what later downloads are held to.
        self._write(Note(self.archive.url, digest, folders))
        observer.says(f"{path.name}: {found.total()} files in {self.root / self.archive.into}")
        if downloaded and not keep_archive:
            path.unlink()

    def _unpack(self, path: Path, observer: Observer) -> Counter[str]:
        only = self.archive.only
        _check_room(self.root, unpacked_bytes(path, only), f"to unpack {path.name}")
        return unpack(
            path,
            self.root / self.archive.into,
            only=only,
            progress=lambda done, total: observer.unpacking(path.name, done, total),
        )

    def _fetch(self, observer: Observer) -> None:
        """Download, and go on by itself as long as something arrives."""
        download, arrived = self.download, -1
        while True:
            try:
                download.fill()
                break
            except FAILURES as error:
                before, arrived = arrived, _size(download.part)
                if arrived <= before or arrived == 0:
                    raise UsageError(self._advice(str(error))) from None
                observer.says(f"{self.archive.name}: {error}; going on from there")
        download.accept()

    def _check(self, path: Path, observer: Observer, downloaded: bool) -> str:
        """The archive's digest, which is the published or the recorded one if there is any."""
        note = Note.read(self._note_path)
        expected = self.archive.digest or (note.digest if note else None)
        observer.says(f"{path.name}: checking")
        algorithm = expected.partition(":")[0] if expected else "sha256"
        found = f"{algorithm}:{digest_of(path, algorithm)}"
        if expected in (None, found):
            return found
        source = "is published"
        if not self.archive.digest:
            source = f"was recorded at the first download (delete {self._note_path} to forget it)"
        mend = self._discard(path, downloaded)
        raise UsageError(f"{path}: {found}, but {expected} {source}; {mend}")

    def _discard(self, path: Path, downloaded: bool) -> str:
        """Delete what was downloaded and is of no use; a person's own file stays.

        Returns:
            What to do next.
        """
        if not downloaded:
            return "fetch it again, or delete it and run again"
        path.unlink()
        return "it was discarded, run again"

    def _write(self, note: Note) -> None:
        with replacing(self._note_path) as temporary:
            temporary.write_text(json.dumps(asdict(note), indent=1) + "\n")

    def _advice(self, reason: str) -> str:
        return (
            f"{self.archive.name} could not be fetched ({reason}); run again to go on, or fetch it "
            f"by hand: `curl -L -C - -o {self.by_hand} {self.archive.url}`"
        )


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Two preparations would write into each other's files."""
    from filelock import FileLock, Timeout

    try:
        (root / HOME).mkdir(parents=True, exist_ok=True)
        with FileLock(root / HOME / "lock", timeout=0):
            yield
    except Timeout:
        raise UsageError(f"{root}: another preparation is at work here") from None
    except OSError as error:
        raise UsageError(f"{root}: cannot be written to ({error.strerror or error})") from None


def _files_in(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0


def _check_space(root: Path, steps: Sequence[_Step]) -> None:
    """Is there room for all of it, before anything is fetched? Unknown sizes count as nothing."""
    needed = 0.0
    for step in steps:
        if not step.by_hand.is_file() and not step.download.path.exists():
            with suppress(*FAILURES):
                size = step.download.size() or 0
                needed += size - _size(step.download.part) + _UNPACKED_SHARE * size
    _check_room(root, int(needed), "for the archives and what is in them")


def _check_room(root: Path, needed: int, what: str) -> None:
    free = shutil.disk_usage(root).free
    if needed > free:
        raise UsageError(
            f"{root}: {needed / 2**30:.1f} GiB are needed {what}, {free / 2**30:.1f} GiB are free"
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
