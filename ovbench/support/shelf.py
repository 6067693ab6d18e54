"""Where the pictures of one class stand.

::

    <cache>/support/<digest of all that decides them>/
        set.json      what decides them, and a digest of every file that is whole
        0000.png      a picture
        0000.npy      its attribution, (h, w) float32
        0001.png ...

A set of 8 is the beginning of a set of 32.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from ovbench.errors import OvbenchError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.files.json_files import parse
from ovbench.harness.files.regular import regular
from ovbench.harness.files.shared import array_bytes, array_of, sweep, write

HOME = "support"
"""The folder of all of them in the cache."""

NOTE = "set.json"

_SUFFIXES = (".png", ".npy")


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One support picture: ``(H, W, 3)`` uint8 and its attribution, ``(h, w)`` float32."""

    image: Image
    attribution: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Shelf:
    """The pictures of a class as files.

    Attributes:
        folder: theirs alone.
        key: everything that decides what they show, JSON-ready.
    """

    folder: Path
    key: Mapping[str, Any]

    def whole(self, count: int) -> dict[int, str]:
        """Which of the first pictures are there undamaged: by index, a digest of their files."""
        digests = self._noted()
        return {
            index: digests[index]
            for index in range(count)
            if index in digests and self._digest(index) == digests[index]
        }

    def put(self, pictures: Mapping[int, Picture]) -> dict[int, str]:
        """Add pictures by index; only by who is alone with the folder.

        They count once all of them are written.

        Returns:
            By index, a digest of their files.

        Raises:
            UsageError: the cache is full or cannot be written to.
        """
        self.folder.mkdir(exist_ok=True)
        sweep(self.folder)
        digests = {}
        for index, picture in pictures.items():
            contents = _png(picture.image), array_bytes(picture.attribution)
            for path, content in zip(self._paths(index), contents, strict=True):
                write(path, content)
            digests[index] = hashlib.sha256(b"".join(contents)).hexdigest()
        noted = dict(sorted({**self._noted(), **digests}.items()))
        note = json.dumps({"key": self.key, "pictures": noted}, indent=1, ensure_ascii=False)
        write(self._note, note.encode())
        return digests

    def read(self, index: int) -> Picture:
        """One picture that is whole.

        Raises:
            OvbenchError: it was removed or damaged since.
        """
        try:
            image, attribution = (regular(path).read_bytes() for path in self._paths(index))
            with Pillow.open(io.BytesIO(image)) as picture:
                return Picture(np.array(picture), array_of(attribution))
        except (OSError, ValueError, SyntaxError) as error:
            raise OvbenchError(
                f"{self._paths(index)[0]}: removed or damaged while it was in use ({error}); "
                "run again to have it made again"
            ) from None

    @property
    def _note(self) -> Path:
        return self.folder / NOTE

    def _noted(self) -> dict[int, str]:
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            note = parse(regular(self._note).read_bytes())
            return {int(index): str(digest) for index, digest in note["pictures"].items()}
        return {}

    def _paths(self, index: int) -> tuple[Path, Path]:
        image, attribution = (self.folder / f"{index:04d}{suffix}" for suffix in _SUFFIXES)
        return image, attribution

    def _digest(self, index: int) -> str | None:
        try:
            contents = [regular(path).read_bytes() for path in self._paths(index)]
        except OSError:
            return None
        return hashlib.sha256(b"".join(contents)).hexdigest()


def _png(image: Image) -> bytes:
    out = io.BytesIO()
    Pillow.fromarray(image).save(out, "PNG")
    return out.getvalue()
