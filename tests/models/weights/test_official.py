"""Official files: downloaded, continued, verified, and kept where torch.hub keeps its own."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from weight_servers import Page, PageHandler, serving

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.weights import checkpoints, digests
from ovbench.models.weights.catalogue import Entry, OfficialFile
from ovbench.models.weights.digests import note_of
from ovbench.models.weights.official import fetch, path_of, state_of

BODY = random.Random(0).randbytes(3_000_000)
Publish = Callable[[Page], OfficialFile]


@pytest.fixture(autouse=True)
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch home"))
    return tmp_path / "torch home"


@pytest.fixture
def publish() -> Iterator[Publish]:
    """Put a page on a server; the file's digest is that of what the page should hold."""
    with ExitStack() as stack:

        def put(page: Page) -> OfficialFile:
            address = stack.enter_context(serving(PageHandler, page))
            digest = hashlib.sha256(BODY).hexdigest()
            return OfficialFile(f"{address}/weights.pth", "weights.pth", digest)

        yield put


def part_of(file: OfficialFile) -> Path:
    path = path_of(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f"{path.name}.part")


@pytest.mark.parametrize("variable", ["TORCH_HOME", "XDG_CACHE_HOME", None])
def test_the_folder_is_torch_hubs(monkeypatch: pytest.MonkeyPatch, variable: str | None) -> None:
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if variable:
        monkeypatch.setenv(variable, "~/somewhere")
    file = OfficialFile("http://127.0.0.1:9/a.pth", "a.pth", "0" * 64)
    assert path_of(file).parent == Path(torch.hub.get_dir()) / "checkpoints"


def test_a_file_is_downloaded_once(publish: Publish) -> None:
    page = Page(BODY)
    file = publish(page)
    assert fetch(file) == path_of(file)
    assert fetch(file).read_bytes() == BODY
    assert page.starts == [0]
    assert not part_of(file).exists()


def test_a_download_that_broke_off_is_continued(publish: Publish) -> None:
    page = Page(BODY, breaks_after=1_000_000)
    file = publish(page)
    for done in (1_000_000, 2_000_000):
        with pytest.raises(UsageError, match=f"broke off after {done} of 3000000 bytes"):
            fetch(file)
        assert not path_of(file).exists()
    assert fetch(file).read_bytes() == BODY
    assert page.starts == [0, 1_000_000, 2_000_000]


def test_a_server_that_cannot_continue_sends_all_again(publish: Publish) -> None:
    file = publish(Page(BODY, ranges=False))
    part_of(file).write_bytes(BODY[:1234])
    assert fetch(file).read_bytes() == BODY


def test_a_download_that_was_complete_but_not_accepted_is_accepted(publish: Publish) -> None:
    page = Page(BODY)
    file = publish(page)
    part_of(file).write_bytes(BODY)
    assert fetch(file).read_bytes() == BODY
    assert page.starts == [len(BODY)]


@pytest.mark.parametrize("start", [0, 1234])
def test_a_corrupt_download_is_discarded(publish: Publish, start: int) -> None:
    page = Page(BODY[:-1] + b"!")
    file = publish(page)
    part_of(file).write_bytes(BODY[:start])
    with pytest.raises(UsageError, match="was discarded: its SHA-256 is") as caught:
        fetch(file)
    assert file.sha256 in str(caught.value)
    assert not path_of(file).exists()
    assert not part_of(file).exists()
    page.body = BODY
    assert fetch(file).read_bytes() == BODY


def test_a_wrong_file_in_place_is_told_and_left_alone(publish: Publish) -> None:
    page = Page(BODY)
    file = publish(page)
    part_of(file)
    path_of(file).write_bytes(b"mine")
    with pytest.raises(UsageError, match="is not what http"):
        fetch(file)
    assert path_of(file).read_bytes() == b"mine"
    assert page.starts == []


def test_a_file_brought_by_hand_is_taken(publish: Publish) -> None:
    page = Page(BODY)
    file = publish(page)
    part_of(file)
    path_of(file).write_bytes(BODY)
    assert fetch(file).read_bytes() == BODY
    assert page.starts == []


def test_several_that_start_together_download_once(publish: Publish) -> None:
    page = Page(BODY)
    file = publish(page)
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(fetch, [file] * 4))
    assert set(paths) == {path_of(file)}
    assert page.starts == [0]


def test_missing_weights_are_one_line_that_mends(monkeypatch: pytest.MonkeyPatch) -> None:
    file = OfficialFile("http://127.0.0.1:9/weights.pth", "weights.pth", "0" * 64)
    with pytest.raises(UsageError) as caught:
        fetch(file)
    message = str(caught.value)
    assert f"`curl -L --create-dirs -o '{path_of(file)}' {file.url}`" in message
    assert "refused" in message
    assert "\n" not in message
    assert caught.value.exit_code == 2


def test_offline_mode_asks_nobody(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    page = Page(BODY)
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE is set"):
        fetch(publish(page))
    assert page.starts == []


def test_an_address_that_is_gone_says_so(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PageHandler, "do_GET", lambda self: self.reply(404, b"", {}, 0))
    with pytest.raises(UsageError, match="HTTP Error 404"):
        fetch(publish(Page(BODY)))


def test_locating_one_gives_file_name_and_digest(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = publish(Page(BODY))
    entry = Entry("sam", "sam_vit_b", file, "", "", None)
    monkeypatch.setattr(checkpoints, "look_up", lambda role, name: entry)
    located = checkpoints.locate("sam", "sam_vit_b", Runtime())
    assert located.path == path_of(file)
    assert located.records == (CheckpointRecord("sam", "weights.pth", None, file.sha256),)


def test_the_second_start_does_not_read_the_file(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = publish(Page(BODY))
    fetch(file)
    monkeypatch.setattr(digests, "sha256_of", None)
    fetch(file)


@pytest.fixture
def unstated(publish: Publish) -> Callable[[Page], OfficialFile]:
    """Publish a file of which nobody states a digest."""
    return lambda page: replace(publish(page), sha256=None)


def test_a_file_without_a_published_digest_is_held_to_what_was_found_first(
    unstated: Publish,
) -> None:
    page = Page(BODY)
    file = unstated(page)
    fetch(file)
    assert state_of(file) == "there"
    path_of(file).write_bytes(b"another")
    for _ in range(2):  # and not only once
        with pytest.raises(UsageError, match=r"recorded at first use; if it was published anew"):
            fetch(file)
        assert state_of(file) == "differs"
    path_of(file).unlink()
    page.body = BODY[:-1] + b"!"
    with pytest.raises(UsageError, match=r"was discarded: .* recorded at first use"):
        fetch(file)
    assert not path_of(file).exists()
    note_of(path_of(file)).unlink()
    assert fetch(file).read_bytes() == page.body


def test_a_file_brought_by_hand_without_a_digest_is_recorded(unstated: Publish) -> None:
    file = replace(unstated(Page(BODY)), by_hand=True)
    part_of(file)
    path_of(file).write_bytes(BODY)
    assert fetch(file) == path_of(file)
    path_of(file).write_bytes(BODY[1:])
    with pytest.raises(UsageError, match="delete it, and the next run says where it is"):
        fetch(file)


def test_what_only_a_person_can_fetch_is_one_line(publish: Publish) -> None:
    page = Page(BODY)
    file = replace(publish(page), by_hand=True)
    with pytest.raises(UsageError) as caught:
        fetch(file, ", or else", 223_000_000)
    path = path_of(file)
    assert str(caught.value) == (
        f"weights weights.pth (223.0 MB) are not at {path} and no program can fetch them: download "
        f"weights.pth from {file.url} and put it into {path.parent}, or else"
    )
    assert page.starts == []
    assert state_of(file) == "missing"


def test_a_file_that_differs_from_the_published_one_is_seen(publish: Publish) -> None:
    file = publish(Page(BODY))
    fetch(file)
    path_of(file).write_bytes(BODY[::-1])
    assert state_of(file) == "differs"
