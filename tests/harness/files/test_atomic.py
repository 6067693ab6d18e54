"""Files that are there whole or not at all, whoever was killed and however full the disk is."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ovbench.errors import OvbenchError, UsageError
from ovbench.harness.files import atomic
from ovbench.harness.files.atomic import replacing
from ovbench.harness.files.images import write_label
from ovbench.harness.files.json_files import write_json
from ovbench.harness.files.lines import LineWriter, whole_lines

WRITER = """
import sys, time
from pathlib import Path
from ovbench.harness.files.atomic import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def writer(path: Path) -> subprocess.Popen[str]:
    """A process that is in the middle of writing a file."""
    started = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "writing\n"
    return started


def test_what_a_killed_writer_left_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    killed, living = writer(tmp_path / "a"), writer(tmp_path / "b")
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        (tmp_path / ".mine.deadbeef").write_text("nobody's temporary file")
        assert len(list(tmp_path.iterdir())) == 3
        write_json(tmp_path / "c", {})
        left = {path.name.split(".")[1] for path in tmp_path.glob(".*")}
        assert left == {"b", "mine"}
    finally:
        living.kill()
        living.wait()


def test_a_file_that_is_swept_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Path] = []

    def locked(file: int) -> bool:
        if not taken:
            taken.extend(tmp_path.iterdir())
            taken[0].unlink()
        return True

    monkeypatch.setattr(atomic, "_locked", locked)
    with replacing(tmp_path / "a") as temporary:
        assert temporary not in taken
        temporary.write_text("whole")
    assert (tmp_path / "a").read_text() == "whole"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_longest_name_can_be_written_and_a_longer_one_is_said(tmp_path: Path) -> None:
    write_json(tmp_path / ("é" * 125 + ".json"), {})
    with pytest.raises(UsageError, match=r"cannot be written \(File name too long\)"):
        write_json(tmp_path / ("x" * 300), {})


@pytest.mark.parametrize("what", ["json", "label", "lines"])
def test_a_full_disk_is_one_line_and_what_was_there_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = tmp_path / "file"

    def write(number: int) -> None:
        if what == "json":
            write_json(path, {"number": number})
        elif what == "label":
            write_label(path, np.full((4, 4), number, np.uint8))
        else:
            with LineWriter(path) as lines:
                lines.write(b"%d%d%d\n" % (number, number, number))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    real = os.write

    def nearly_full(file: int, data: bytes) -> int:
        return real(file, data[:2]) if len(data) > 2 else full()

    write(1)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", nearly_full)
        patch.setattr(os, "fsync", full)
        with pytest.raises(OvbenchError, match=r"file: cannot be written \(No space left") as said:
            write(2)
    assert said.value.exit_code == 1
    if what == "lines":
        assert path.read_bytes() == before + b"22"  # a torn line, which no reader sees
        assert [line for _, line in whole_lines(path)] == [b"111"]
        write(3)
        before = b"111\n333\n"
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
