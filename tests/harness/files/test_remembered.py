"""Arrays by content hash: built once, whole or built again."""

from __future__ import annotations

import errno
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from watchers import Watcher

from ovbench.errors import UsageError
from ovbench.harness.files import code
from ovbench.harness.files.cache import cache_home, remembered

KEY = {"digest": "ab", "threshold": 0.5, "layers": [1, 2], "name": "Größe"}
ARRAYS: Mapping[str, npt.NDArray[Any]] = {
    "prototypes": np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3),
    "kept": np.array([True, False]),
    "none": np.zeros((0, 4), np.float16),
    "scale": np.array(3.5),
}


class Builder:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Mapping[str, npt.NDArray[Any]]:
        self.calls += 1
        return ARRAYS


def assert_same(found: Mapping[str, npt.NDArray[Any]]) -> None:
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert (found[name] == array).all()


def test_built_once_and_the_same_ever_after() -> None:
    build = Builder()
    for _ in range(3):
        assert_same(remembered("prototypes", KEY, build))
    assert_same(remembered("prototypes", dict(reversed(KEY.items())), build))
    assert build.calls == 1


def test_what_older_code_built_is_not_handed_out(tmp_path: Path) -> None:
    """Also where the module that was edited is one beside the one that builds."""
    (tmp_path / "building.py").write_text("def build(): return made\n")

    def ask(neighbour: str) -> float:
        (tmp_path / "neighbour.py").write_text(neighbour)
        for kept in (code._digest, code._imported, code._text):
            kept.cache_clear()  # as in another process
        made: dict[str, Any] = {"made": {"a": np.array(float(neighbour))}}
        file = tmp_path / "building.py"
        exec(compile(file.read_text(), file, "exec"), made)
        return float(remembered("prototypes", KEY, made["build"])["a"])

    assert [ask("1"), ask("2"), ask("1")] == [1, 2, 1]


@pytest.mark.parametrize("change", [{"digest": "ac"}, {"threshold": 0.25}, {"layers": [2, 1]}])
def test_another_key_is_another_thing(change: Mapping[str, Any]) -> None:
    build = Builder()
    remembered("prototypes", KEY, build)
    remembered("prototypes", {**KEY, **change}, build)
    remembered("masks", KEY, build)
    assert build.calls == 3


def test_a_file_says_what_it_is(cache: Path) -> None:
    remembered("prototypes", KEY, Builder())
    (path,) = (cache / "prototypes").glob("*.npz")
    with zipfile.ZipFile(path) as archive:
        assert "Größe" in archive.read("about.json").decode()
    with np.load(path) as arrays:
        assert (arrays["prototypes"] == ARRAYS["prototypes"]).all()


def test_no_damaged_byte_is_taken_for_an_array(cache: Path) -> None:
    build = Builder()
    remembered("prototypes", KEY, build)
    (path,) = (cache / "prototypes").glob("*.npz")
    whole = path.read_bytes()
    directory = whole.index(b"PK\1\2")
    places = [*range(0, directory, 7), *range(directory, len(whole))]
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert_same(remembered("prototypes", KEY, build))
    assert build.calls > len(places) / 2  # the rest is what no reader looks at
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        before = build.calls
        path.write_bytes(whole[:length])
        assert_same(remembered("prototypes", KEY, build))
        assert build.calls == before + 1


def test_one_builds_while_the_others_wait(watcher: Watcher) -> None:
    begun, go, calls = threading.Event(), threading.Event(), []

    def build() -> Mapping[str, npt.NDArray[Any]]:
        calls.append(1)
        begun.set()
        assert go.wait(30)
        return ARRAYS

    found: list[Mapping[str, npt.NDArray[Any]]] = []
    threads = [
        threading.Thread(target=lambda: found.append(remembered("prototypes", KEY, build)))
        for _ in range(3)
    ]
    threads[0].start()
    assert begun.wait(30)
    for thread in threads[1:]:
        thread.start()
    while len(watcher.lines) < 2:
        pass
    assert "waiting for another process that is making prototypes (it holds " in watcher.lines[0]
    go.set()
    for thread in threads:
        thread.join(30)
    assert len(calls) == 1
    for one in found:
        assert_same(one)
    assert len(found) == 3


def test_a_build_that_fails_leaves_nothing(cache: Path) -> None:
    def fail() -> Mapping[str, npt.NDArray[Any]]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        remembered("prototypes", KEY, fail)
    assert [path.suffix for path in (cache / "prototypes").iterdir()] in ([], [".lock"])
    assert_same(remembered("prototypes", KEY, Builder()))


def test_what_a_killed_process_left_is_swept_away(cache: Path) -> None:
    remembered("prototypes", KEY, Builder())
    (path,) = (cache / "prototypes").glob("*.npz")
    left = path.with_name(f".{path.name}.0123abcd")
    path.rename(left)
    remembered("prototypes", KEY, Builder())
    assert not left.exists()


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    def full(_path: Path, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UsageError, match=r"prototypes: cannot be written to \(No space left"):
        remembered("prototypes", KEY, Builder())
    assert not list(cache.rglob("*.npz"))


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_home() == tmp_path / "cache"
    monkeypatch.delenv("OVBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_home() == Path("/somewhere/ovbench")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_home() == Path("/home/me/.cache/ovbench")
