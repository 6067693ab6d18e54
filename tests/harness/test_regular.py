"""A pipe under the name of a file is said in one line; nobody waits for its writer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ovbench.datasets import coco_masks
from ovbench.datasets.class_list import read_class_list
from ovbench.datasets.coco20i import read_lists
from ovbench.datasets.files import read_id_list
from ovbench.errors import UsageError
from ovbench.harness.json_files import read_json
from ovbench.harness.lines import whole_lines
from ovbench.harness.settings_file import read_settings_file
from ovbench.leaderboards.update import put_between_markers

READERS: dict[str, Callable[[Path], object]] = {
    "a list of classes": read_class_list,
    "a split": read_id_list,
    "annotations": coco_masks.read_json,
    "a pickle": read_lists,
    "records": lambda path: list(whole_lines(path)),
    "a result": read_json,
    "settings": lambda path: read_settings_file(path, "m"),
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
