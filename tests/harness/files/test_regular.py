"""A pipe under the name of a file is said in one line; nobody waits for its writer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ovbench.datasets.coco20i import read_lists
from ovbench.datasets.fetching.unpack import unpacked_bytes
from ovbench.datasets.names.lines import read_text
from ovbench.datasets.reading import coco_masks
from ovbench.datasets.reading.class_list import read_class_list
from ovbench.datasets.reading.files import read_id_list
from ovbench.errors import OvbenchError, UsageError
from ovbench.harness.files.digests import digest_of_files
from ovbench.harness.files.download import Download
from ovbench.harness.files.json_files import read_json
from ovbench.harness.files.lines import LineWriter, whole_lines
from ovbench.harness.registry.settings_file import read_settings_file
from ovbench.leaderboards.formats.update import put_between_markers
from ovbench.models.matchers.folder import _check_type
from ovbench.models.patches.encoder import _class_of
from ovbench.models.weights.digests import sha256_of
from ovbench.support.shelf import Shelf

READERS: dict[str, Callable[[Path], object]] = {
    "a list of classes": read_class_list,
    "a split": read_id_list,
    "annotations": coco_masks.read_json,
    "a pickle": read_lists,
    "records": lambda path: list(whole_lines(path)),
    "a result": read_json,
    "settings": lambda path: read_settings_file(path, "m"),
    "names": read_text,
    "an archive": unpacked_bytes,
    "weights": sha256_of,
    "a document": lambda path: put_between_markers(path, "text"),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_only_files_are_read(tmp_path: Path, read: Callable[[Path], object]) -> None:
    pipe, folder, loop = tmp_path / "pipe", tmp_path / "folder", tmp_path / "loop"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match=r"pipe: cannot be read \(a pipe, socket or device\)$"):
        read(pipe)
    folder.mkdir()
    with pytest.raises(UsageError, match=r"folder: cannot be read \(Is a directory\)$"):
        read(folder)
    loop.symlink_to(loop)
    with pytest.raises(UsageError, match=r"loop: [^\n]*$"):
        read(loop)


def test_what_is_appended_to_is_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "rank-0.jsonl"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match=r"jsonl: cannot be written \(a pipe, socket or device\)$"):
        LineWriter(pipe)


@pytest.mark.parametrize("name", ["a.zip.part", "a.zip.part.from"])
def test_a_download_does_not_go_on_with_a_pipe(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(OSError, match="a pipe, socket or device"):
        Download("http://localhost:1/a.zip", tmp_path / "a.zip").fill()


def test_models_and_support_sets_read_files(tmp_path: Path) -> None:
    for name in ("config.json", "0000.png", "0000.npy", "set.json"):
        os.mkfifo(tmp_path / name)
    for read in (_class_of, lambda folder: _check_type(folder, "blip")):
        with pytest.raises(OSError, match="a pipe, socket or device"):  # said by who loads it
            read(tmp_path)
    with pytest.raises(OvbenchError, match="a pipe, socket or device"):
        Shelf(tmp_path, {}).read(0)
    assert digest_of_files([("a", tmp_path / "0000.png")], "a pipe") == digest_of_files(
        [("a", tmp_path / "nothing")], "nothing"
    )
