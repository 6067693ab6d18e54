"""Damaged archives: one line or the right files, never others, and nothing outside the folder."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fuzzing import mutated, seconds
from tiny_archives import tar, zipped

from ovbench.datasets.fetching.unpack import unpack, unpacked_bytes
from ovbench.errors import UsageError

MUTATIONS = 200
NOISE = random.Random(0).randbytes(3000)
FILES = {
    "set/images/a.jpg": NOISE,
    "set/images/b.jpg": b"a picture that packs well" * 100,
    "set/labels/a.png": b"",
    "set/list.txt": b"a\nb\n",
}
ARCHIVES = {"a.tar.gz": tar(FILES, "w:gz"), "a.zip": zipped(FILES), "a.tar": tar(FILES)}


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ARCHIVES)
def test_damaged_archives(tmp_path: Path, name: str) -> None:
    said: list[str] = []
    for seed in range(MUTATIONS):
        home = tmp_path / str(seed)
        home.mkdir()
        archive, out = home / name, home / "out"
        archive.write_bytes(mutated(ARCHIVES[name], seed))
        try:
            with seconds(10):
                unpacked_bytes(archive)
                unpack(archive, out)
        except UsageError as error:
            said.append(str(error))
        else:
            # A plain tar archive carries no checksum of its files.
            assert name == "a.tar" or tree(out) == FILES, seed
        assert {path.name for path in home.iterdir()} <= {name, "out"}, seed
        if name != "a.tar" and out.exists():
            assert tree(out).items() <= FILES.items(), seed
    assert len(said) > MUTATIONS / 4
    assert all(name in line and "\n" not in line for line in said)
