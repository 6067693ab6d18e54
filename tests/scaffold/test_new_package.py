"""What ``ovbench new`` writes works as it is written."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from in_process import ovbench

from ovbench.harness.registry import lineage, sources
from ovbench.harness.registry.names import DATASETS, METHODS

REPOSITORY = Path(__file__).resolve().parents[2]
LONGEST = "a_name_of_thirty_letters_in_it"
KINDS = ("method", "dataset")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], Path]]:
    """Make a package's entry points visible, as pip would; returns the folder that has them."""

    def forget() -> None:
        for registry in (METHODS, DATASETS):
            vars(registry).pop("entries", None)
        sources._plugins.cache_clear()
        lineage._statements.cache_clear()

    def install(folder: Path) -> Path:
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        information = tmp_path / "site" / f"{project['name'].replace('-', '_')}-0.1.0.dist-info"
        information.mkdir(parents=True)
        head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        (information / "METADATA").write_text(head)
        groups = project["entry-points"].items()
        points = [
            f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in names.items())
            for group, names in groups
        ]
        (information / "entry_points.txt").write_text("\n".join(points))
        monkeypatch.syspath_prepend(folder)
        monkeypatch.syspath_prepend(information.parent)
        forget()
        return information.parent

    yield install
    monkeypatch.undo()
    forget()


def written(kind: str, name: str, folder: Path) -> Path:
    done = ovbench("new", kind, name, "--output", folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def test_a_method_keeps_the_contract_as_written(
    tmp_path: Path, installed: Callable[[Path], Path]
) -> None:
    folder = written("method", "first_try", tmp_path / "package")
    installed(folder)
    done = ovbench("check", "first_try")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    command = ["run", "--method", "first_try", "--dataset", "toyworld", "--limit", 2]
    done = ovbench(*command, "--device", "cpu", "--output", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    shown = ovbench("list", "methods", "first_try").stdout
    assert shown.startswith("first_try: a start: every name has a colour")
    assert "our choice: as stored" in shown
    assert "ovbench-first-try" in shown
    assert ovbench("new", "method", "first_try", "--output", tmp_path / "b").stderr == (
        "error: the method 'first_try' is there already, in package ovbench-first-try; choose "
        "another name\n"
    )


def test_a_dataset_can_be_scored_as_written(
    tmp_path: Path, installed: Callable[[Path], Path]
) -> None:
    installed(written("dataset", "first_data", tmp_path / "package"))
    done = ovbench("datasets", "verify", "first_data")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 problems, 0 warnings" in done.stdout
    command = ["run", "--method", "random", "--dataset", "first_data", "--device", "cpu"]
    done = ovbench(*command, "--output", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    refused = ovbench("datasets", "verify", "first_data", "--names", "mine.txt")
    assert refused.returncode == 2
    assert "one set of class names" in refused.stderr


@pytest.mark.parametrize("name", ["a", LONGEST])
def test_what_is_written_is_formatted_short_and_complete(tmp_path: Path, name: str) -> None:
    assert len(LONGEST) == 30
    for kind in KINDS:
        folder = written(kind, name, tmp_path / kind)
        texts = {path: path.read_text() for path in folder.rglob("*") if path.is_file()}
        assert not [path for path, text in texts.items() if "$" in text or "NAME" in path.name]
        code = (folder / name / f"{kind}.py").read_text()
        assert sum(bool(line.strip()) for line in code.splitlines()) < 60
        assert sum(bool(line.strip()) for line in (folder / "README.md").open()) <= 7
    config = ["--no-cache", "--config", REPOSITORY / "pyproject.toml", tmp_path]
    for words in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *words, *config]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
        assert done.returncode == 0, done.stdout + done.stderr


def test_its_end_says_what_to_do_next(tmp_path: Path) -> None:
    folder = tmp_path / "two words"
    lines = ovbench("new", "method", "mine", "--output", folder).stdout.splitlines()
    assert f"{folder}/mine/method.py" in lines
    assert lines[lines.index("next:") + 1 :] == [
        f"  pip install -e '{folder}'",
        "  ovbench check mine",
        "  ovbench run --method mine --dataset toyworld",
        f"  python -m pytest '{folder}'",
    ]


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("method", "class", "a word of Python's own"),
        ("method", "two words", "no name for a package"),
        ("method", "Upper", "no name for a package"),
        ("method", "../up", "no name for a package"),
        ("method", "trailing_", "no name for a package"),
        ("method", "é", "no name for a package"),
        ("method", "a" * 31, "no name for a package"),
        ("method", "a" * 300, "no name for a package"),
        ("method", "a__b", "no name for a package"),
        ("method", "con", "a device on Windows"),
        ("dataset", "lpt1", "a device on Windows"),
        ("method", "maskclip", "is there already, in package ovbench"),
        ("dataset", "voc", "is there already, in package ovbench"),
        ("dataset", "voc20", "'voc20' means voc"),
        ("method", "numpy", "imported as something else"),
        ("method", "json", "imported as something else"),
        ("method", "tests", "imported as something else"),
        ("method", "mpl_toolkits", "imported as something else"),  # has no __init__
    ],
)
def test_a_name_that_cannot_be_taken(tmp_path: Path, kind: str, name: str, reason: str) -> None:
    for output in ((), ("--output", tmp_path / "new")):
        done = ovbench("new", kind, name, *output)
        assert done.returncode == 2
        assert reason in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "new").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (file := tmp_path / "file").write_text("kept")
    for folder, reason in ((tmp_path, "is not empty"), (file, "is no folder"),
                           (file / "below", "Not a directory")):  # fmt: skip
        done = ovbench("new", "method", "mine", "--output", folder)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert reason in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    (empty := tmp_path / "empty").mkdir()
    written("method", "mine", empty)
    assert {path.name for path in empty.iterdir()} == {
        "README.md", "mine", "pyproject.toml", "tests",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_its_types_and_its_own_tests_hold(
    tmp_path: Path, installed: Callable[[Path], Path], kind: str
) -> None:
    folder = written(kind, "typed", tmp_path / "package")
    site = installed(folder)
    paths = os.pathsep.join(map(str, (folder, site, REPOSITORY)))
    environment = {**os.environ, "PYTHONPATH": paths, "MYPYPATH": str(REPOSITORY)}
    mypy = ["mypy", "--config-file", REPOSITORY / "pyproject.toml", folder / "typed"]
    for words in (mypy, ["pytest", "-q", "-p", "no:cacheprovider", folder]):
        command = [sys.executable, "-m", *words]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=REPOSITORY, env=environment
        )
        assert done.returncode == 0, done.stdout + done.stderr
