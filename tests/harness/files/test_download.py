"""A server that breaks off, stalls, changes its mind or cannot begin in the middle."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from weight_servers import Page, PageHandler, serving

from ovbench.harness.files import download as module
from ovbench.harness.files.download import FAILURES, Download, digest_of

BODY = random.Random(1).randbytes(2_500_000)
Publish = Callable[[Page], Download]


@pytest.fixture
def publish(tmp_path: Path) -> Iterator[Publish]:
    with ExitStack() as stack:

        def put(page: Page) -> Download:
            address = stack.enter_context(serving(PageHandler, page))
            stack.callback(page.released.set)  # before the server waits for its answers
            return Download(f"{address}/archive.zip", tmp_path / "archive.zip")

        yield put


def finish(download: Download) -> bytes:
    download.fill()
    download.accept()
    assert sorted(file.name for file in download.path.parent.iterdir()) == ["archive.zip"]
    return download.path.read_bytes()


def test_a_file_arrives(publish: Publish) -> None:
    page = Page(BODY, tag='"a"')
    download = publish(page)
    assert download.size() == len(BODY)
    assert finish(download) == BODY
    assert page.starts == [0]


def test_a_broken_download_goes_on(publish: Publish) -> None:
    page = Page(BODY, breaks_after=1_000_000, tag='"a"')
    download = publish(page)
    for _ in range(2):
        with pytest.raises(FAILURES, match=r"broke off after \d+ of 2500000 bytes|IncompleteRead"):
            download.fill()
    assert not download.path.exists()
    assert finish(download) == BODY
    assert page.starts == [0, 1_000_000, 2_000_000]


def test_another_version_is_not_spliced(publish: Publish) -> None:
    page = Page(BODY, breaks_after=1_000_000, tag='"a"')
    download = publish(page)
    with pytest.raises(FAILURES):
        download.fill()
    page.body, page.tag, page.breaks_after = BODY[::-1], '"b"', None
    assert finish(download) == BODY[::-1]
    assert page.starts == [0, 0]


def test_a_server_that_cannot_begin_in_the_middle(publish: Publish) -> None:
    page = Page(BODY, breaks_after=1_000_000, ranges=False)
    download = publish(page)
    with pytest.raises(FAILURES):
        download.fill()
    page.breaks_after = None
    assert finish(download) == BODY
    assert page.starts == [0, 0]


def test_a_part_that_is_whole_already(publish: Publish) -> None:
    page = Page(BODY)
    download = publish(page)
    download.part.write_bytes(BODY)
    assert finish(download) == BODY
    assert page.starts == [len(BODY)]


def test_a_part_that_is_too_long_is_fetched_again(publish: Publish) -> None:
    page = Page(BODY)
    download = publish(page)
    download.part.write_bytes(BODY + b"more")
    assert finish(download) == BODY
    assert page.starts == [len(BODY) + 4, 0]


def test_a_server_that_falls_silent(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.3)
    page = Page(BODY, breaks_after=1_000_000, stalls=True)
    download = publish(page)
    with pytest.raises(FAILURES, match="timed out"):
        download.fill()
    page.released.set()
    page.stalls, page.breaks_after = False, None
    assert finish(download) == BODY


def test_a_missing_page(publish: Publish, tmp_path: Path) -> None:
    with pytest.raises(FAILURES):
        Download("http://127.0.0.1:9/archive.zip", tmp_path / "archive.zip").fill()


def test_digests(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    # The published test vectors.
    assert digest_of(path, "md5") == "900150983cd24fb0d6963f7d28e17f72"
    assert digest_of(path, "sha1") == "a9993e364706816aba3e25717850c26c9cd0d89d"
