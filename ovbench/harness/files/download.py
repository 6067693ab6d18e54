"""A large file from a plain web server, continued where an earlier download broke off."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ovbench.errors import UsageError
from ovbench.harness.contract.progress import progress
from ovbench.harness.files.regular import regular

TIMEOUT_S = 10.0
"""Seconds without a byte after which a download has failed."""

FAILURES = (OSError, HTTPException)
"""What a download may raise; the message says why."""

_PIECE = _MIB = 1 << 20
_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = 206, 416


@dataclass(frozen=True, slots=True)
class Download:
    """A file on its way.

    Attributes:
        url: where it comes from.
        path: where it will lie. Until :meth:`accept`, what has arrived lies in
            ``<path>.part``, and in ``<path>.part.from`` which version of the file it is of: what
            the server calls it, and its bytes.
    """

    url: str
    path: Path

    @property
    def part(self) -> Path:
        """What has arrived."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def _origin(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part.from")

    def fill(self) -> None:
        """Fetch what is missing of the file, and tell how it goes on.

        If the server has another version by now, or cannot begin in the middle, the file is
        fetched from its beginning.

        Raises:
            OSError, HTTPException: no answer, or the answer broke off; what has arrived stays.
        """
        for path in (self.part, self._origin):
            if os.path.lexists(path):
                regular(path)  # else it would be waited for
        start = self.part.stat().st_size if self.part.exists() else 0
        try:
            response = self._open(start)
        except HTTPError as error:
            if error.code != _RANGE_NOT_SATISFIABLE:
                raise
            if error.headers.get("Content-Range") in (None, f"bytes */{start}"):
                return  # nothing is missing; if the part is of something else, its digest tells
            self.discard()
            start, response = 0, self._open(0)
        if response.status == _PARTIAL_CONTENT and self._is_of_another_size(response):
            response.close()
            self.discard()
            start, response = 0, self._open(0)
        with response:
            continued = response.status == _PARTIAL_CONTENT
            if not continued:
                validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
                length = response.headers.get("Content-Length")
                self._origin.write_text(f"{validator or ''}\n{length or ''}")
            start = start if continued else 0
            with self.part.open("ab" if continued else "wb") as out:
                _copy(response, out, start, self.path.name)

    def accept(self) -> None:
        """Give the complete file its name."""
        self.part.replace(self.path)
        self._origin.unlink(missing_ok=True)

    def discard(self) -> None:
        """Forget what has arrived."""
        self.part.unlink(missing_ok=True)
        self._origin.unlink(missing_ok=True)

    def size(self) -> int | None:
        """The file's bytes as the server states them, or None if it does not.

        Raises:
            OSError, HTTPException: no answer.
        """
        with urlopen(Request(self.url, method="HEAD"), timeout=TIMEOUT_S) as response:
            length = response.headers.get("Content-Length")
        return int(length) if length else None

    def _open(self, start: int) -> HTTPResponse:
        headers = {"Range": f"bytes={start}-"} if start else {}
        with suppress(OSError):
            validator = regular(self._origin).read_text().partition("\n")[0]
            # A weak one does not promise equal bytes, and servers do not take it.
            if start and validator and not validator.startswith("W/"):
                headers["If-Range"] = validator
        response: HTTPResponse = urlopen(Request(self.url, headers=headers), timeout=TIMEOUT_S)
        return response

    def _is_of_another_size(self, response: HTTPResponse) -> bool:
        """Whether the server has another version by now, though it names none."""
        total = (response.headers.get("Content-Range") or "").rpartition("/")[2]
        before = ""
        with suppress(OSError):
            before = regular(self._origin).read_text().partition("\n")[2]
        return before.isdecimal() and total.isdecimal() and before != total


def digest_of(path: Path, algorithm: str) -> str:
    """A file's digest in hexadecimal, read in pieces.

    Args:
        algorithm: "md5", "sha1" or "sha256".

    Raises:
        UsageError: it cannot be read; names it.
    """
    try:
        with regular(path).open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None


def _copy(response: HTTPResponse, out: IO[bytes], start: int, name: str) -> None:
    rest = response.length  # of this answer; None where the server does not say
    total = None if rest is None else start + rest
    done = start
    with progress(f"{name}, MiB", None if total is None else total / _MIB) as advance:
        advance(start / _MIB)
        while piece := response.read(_PIECE):
            done += out.write(piece)
            advance(len(piece) / _MIB)
    if total is not None and done < total:
        raise OSError(f"it broke off after {done} of {total} bytes; the next run continues")
