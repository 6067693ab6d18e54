from __future__ import annotations

import errno
import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzzing import seconds

from ovbench.datasets.fetching import unpack as module
from ovbench.datasets.fetching.unpack import BrokenArchiveError, unpack, unpacked_bytes
from ovbench.errors import OvbenchError, UsageError

FILES = {
    "set/images/a.jpg": b"picture of a",
    "set/images/b.jpg": b"picture of b, longer",
    "set/labels/a.png": b"",
    "./set/list.txt": b"a\nb\n",
}


def make_zip(path: Path, files: dict[str, bytes] = FILES, folders: bool = True) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        if folders:
            file.writestr("set/", b"")
        for name, content in files.items():
            file.writestr(name, content)
    return path


def make_tar(path: Path, files: dict[str, bytes] = FILES) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as file:
        folder = tarfile.TarInfo("set")
        folder.type = tarfile.DIRTYPE
        file.addfile(folder)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


EXPECTED = {name.removeprefix("./"): content for name, content in FILES.items()}
MAKERS = [("a.zip", make_zip), ("a.tar", make_tar), ("a.tar.gz", make_tar)]


@pytest.mark.parametrize(("name", "make"), MAKERS)
def test_everything_is_unpacked(tmp_path: Path, name: str, make: Callable[..., Path]) -> None:
    archive, seen = make(tmp_path / name), []
    found = unpack(archive, tmp_path / "out", progress=lambda done, of: seen.append((done, of)))
    assert tree(tmp_path / "out") == EXPECTED
    assert found == {"set/images": 2, "set/labels": 1, "set": 1}
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert unpacked_bytes(archive) == sum(map(len, FILES.values()))


@pytest.mark.parametrize(("name", "make"), MAKERS)
def test_a_part_is_unpacked(tmp_path: Path, name: str, make: Callable[..., Path]) -> None:
    archive = make(tmp_path / name)
    assert unpack(archive, tmp_path / "out", only=["set/images/"]).total() == 2
    assert sorted(tree(tmp_path / "out")) == ["set/images/a.jpg", "set/images/b.jpg"]
    assert unpacked_bytes(archive, ["set/images/"]) == 32
    with pytest.raises(UsageError, match="holds nothing of val2017/"):
        unpack(archive, tmp_path / "out", only=["val2017/"])


@pytest.mark.parametrize(("name", "make"), MAKERS)
def test_what_is_there_stays(tmp_path: Path, name: str, make: Callable[..., Path]) -> None:
    archive, out = make(tmp_path / name), tmp_path / "out"
    (out / "set" / "images").mkdir(parents=True)
    (out / "set" / "images" / "a.jpg").write_bytes(b"A" * 12)
    unpack(archive, out)
    assert tree(out) == {**EXPECTED, "set/images/a.jpg": b"A" * 12}
    (out / "set" / "images" / "a.jpg").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"a\.jpg: is not the file in .*; move it away"):
        unpack(archive, out)
    assert (out / "set" / "images" / "a.jpg").read_bytes() == b"mine"


def test_a_plain_file_is_put_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"{}")
    assert unpack(tmp_path / "a.json", tmp_path / "out").total() == 1
    assert tree(tmp_path / "out") == {"a.json": b"{}"}


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize(
    "name",
    [
        *("../out.txt", "set/../../out.txt", "/out.txt", "a\\..\\b", "C:/out.txt", "a\nb", ".."),
        *(".ovbench/b.zip.json", "set/.OVBENCH/lock"),  # what preparations believe of each other
    ],
)
def test_no_member_escapes(tmp_path: Path, make: Callable[..., Path], name: str) -> None:
    archive = make(tmp_path / ("a.zip" if make is make_zip else "a.tar"), {"ok": b"1", name: b"2"})
    with pytest.raises(UsageError, match=r"would lie elsewhere|cannot be unpacked") as caught:
        unpack(archive, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()  # refused before the first file


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc/passwd"
        file.addfile(info)
    with pytest.raises(UsageError, match="'link' is not a plain file; it is not unpacked"):
        unpack(tmp_path / "a.tar", tmp_path / "out")


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        file.writestr(info, "/etc/passwd")
    with pytest.raises(UsageError, match="'link' is not a plain file"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_a_link_in_the_folder_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "set").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=r"a link in .* would take 'set/"):
        unpack(make_zip(tmp_path / "a.zip"), tmp_path / "out")


@pytest.mark.parametrize(("name", "make"), MAKERS)
def test_a_truncated_archive_is_named(tmp_path: Path, name: str, make: Callable[..., Path]) -> None:
    import random

    files = {f"f{i}": random.Random(i).randbytes(20_000) for i in range(5)}
    archive = make(tmp_path / name, files)
    archive.write_bytes(archive.read_bytes()[:50_000])
    with pytest.raises(UsageError, match=r"a\.\S+: cannot be unpacked \(") as caught:
        unpack(archive, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_a_page_of_html_is_not_an_archive(tmp_path: Path) -> None:
    for name in ("a.zip", "a.tar", "a.tar.gz"):
        (tmp_path / name).write_text("<html>404</html>")
        with pytest.raises(UsageError, match="cannot be unpacked"):
            unpack(tmp_path / name, tmp_path / "out")


def test_a_member_that_is_not_what_it_states(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"bomb": b"x" * 100_000}, folders=False)
    content = archive.read_bytes()
    # Both headers state 1000 bytes.
    content = content.replace((100_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    archive.write_bytes(content)
    with pytest.raises(UsageError, match=r"'bomb' has not the size|cannot be unpacked"):
        unpack(archive, tmp_path / "out")
    assert tree(tmp_path / "out") == {}


@pytest.mark.parametrize(("name", "make"), MAKERS)
def test_a_killed_unpacking_goes_on(tmp_path: Path, name: str, make: Callable[..., Path]) -> None:
    archive, out = make(tmp_path / name), tmp_path / "out"

    def die(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(archive, out, progress=die)
    assert len(tree(out)) == 2
    unpack(archive, out)
    assert tree(out) == EXPECTED


def test_a_damaged_header_is_not_the_end_of_a_tar(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar")
    content = bytearray(archive.read_bytes())
    content[content.index(b"set/images/b.jpg")] ^= 1
    archive.write_bytes(content)
    with pytest.raises(BrokenArchiveError, match=r"cannot be unpacked \(bad checksum\)"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_a_tar_has_an_end(tmp_path: Path, name: str) -> None:
    plain = make_tar(tmp_path / "whole.tar").read_bytes()
    cut = plain[: plain.index(b"set/labels/a.png")]  # between two members
    (tmp_path / name).write_bytes(gzip.compress(cut) if name.endswith(".gz") else cut)
    with pytest.raises(BrokenArchiveError, match="its end is missing"):
        unpack(tmp_path / name, tmp_path / "out")


def test_the_checksum_of_a_compressed_tar_is_read(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar")
    stored = bytearray(gzip.compress(archive.read_bytes(), compresslevel=0))
    stored[stored.index(b"picture of a")] ^= 1
    (tmp_path / "a.tar.gz").write_bytes(stored)
    with pytest.raises(BrokenArchiveError, match="CRC check failed"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_negative_size_does_not_lead_back_for_ever(tmp_path: Path) -> None:
    header = bytearray(tarfile.TarInfo("b").tobuf())
    header[124:136] = b"\xff" * 4 + (-512).to_bytes(8, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(tarfile.TarInfo("a").tobuf() + bytes(header) + bytes(1024))
    with seconds(5), pytest.raises(UsageError, match="'b' states a wrong size"):
        unpack(tmp_path / "a.tar", tmp_path / "out")


@pytest.mark.parametrize("suffix", ["zip", "tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_one_place_is_filled_once(tmp_path: Path, suffix: str) -> None:
    make = make_zip if suffix == "zip" else make_tar
    archive = make(tmp_path / f"a.{suffix}", {"set/a": b"1", "./set//a": b"2"})
    with pytest.raises(BrokenArchiveError, match="holds set/a more than once"):
        unpack(archive, tmp_path / "out")


def test_a_full_disk_does_not_make_an_archive_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.shutil, "copyfileobj", full)
    with pytest.raises(OvbenchError, match="No space left") as caught:
        unpack(make_zip(tmp_path / "a.zip"), tmp_path / "out")
    assert not isinstance(caught.value, BrokenArchiveError)
