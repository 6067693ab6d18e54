"""Digests, and the notes that save reading a file twice."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from ovbench.models.weights import digests
from ovbench.models.weights.digests import noted_sha256, sha256_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"abc" * 1_000_000)
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read for their digest."""
    read: list[Path] = []

    def counted(path: Path) -> str:
        read.append(path)
        return sha256_of(path)

    monkeypatch.setattr(digests, "sha256_of", counted)
    return read


def test_the_digest_is_of_the_content(file: Path) -> None:
    assert sha256_of(file) == hashlib.sha256(b"abc" * 1_000_000).hexdigest()


def test_a_file_is_read_once(file: Path, reads: list[Path]) -> None:
    assert noted_sha256(file) == noted_sha256(file) == sha256_of(file)
    assert reads == [file]


@pytest.mark.parametrize("size", [3_000_000, 7])
def test_a_changed_file_is_read_again(file: Path, reads: list[Path], size: int) -> None:
    noted_sha256(file)
    file.write_bytes(bytes(size))
    os.utime(file, ns=(0, 12345))
    assert noted_sha256(file) == hashlib.sha256(bytes(size)).hexdigest()
    assert len(reads) == 2


@pytest.mark.parametrize("note", ["", "[1]", "{}", '{"sha256": "00"}', "null"])
def test_a_damaged_note_is_not_believed(file: Path, note: str) -> None:
    file.with_name("weights.pth.sha256.json").write_text(note)
    assert noted_sha256(file) == sha256_of(file)


def test_a_folder_without_room_for_notes_is_read_every_time(file: Path, reads: list[Path]) -> None:
    file.with_name("weights.pth.sha256.json").mkdir()
    assert noted_sha256(file) == noted_sha256(file)
    assert len(reads) == 2
