"""Other code has another digest, and the same code the same one, wherever it lies."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ovbench.harness.contract.settings import settings_of
from ovbench.harness.registry import sources
from ovbench.harness.registry.names import METHODS, Entry
from ovbench.harness.registry.sources import code_of, code_of_entry, plugins_in

HELPERS = "def attention():\n    return 1\n"
METHOD = """
import helpers
from numpy import zeros

class Mine:
    def prepare(self, vocabulary): ...
    def segment(self, images, candidates=None): return helpers.attention()
"""


def answers(label: object) -> object:
    """Of a class whose name and source are the same for every label."""

    class Answers:
        def segment(self) -> object:
            return label

    return Answers()


def test_classes_that_one_function_makes_differ_by_what_they_close_over() -> None:
    labels = (0, 1, 2, "0", (0, 1), [0], np.arange(2), np.arange(2.0))
    digests = [str(code_of(answers(label))) for label in labels]
    assert len(set(digests)) == len(labels)
    assert digests[1] == str(code_of(answers(1)))


def test_functions_in_place_of_methods_differ_too() -> None:
    one, two = (SimpleNamespace(segment=f) for f in (lambda: 1, lambda: 2))
    assert code_of(one) != code_of(two)


def of_cell(source: str) -> dict[str, str]:
    """The code of a class that was typed, not written into a file."""
    scope: dict[str, object] = {"__name__": "__main__"}
    exec(source, scope)
    made = scope["Mine"]
    assert isinstance(made, type)
    return code_of(made())


def test_a_notebook_is_known_by_what_its_cells_were_compiled_to() -> None:
    cell = "THRESHOLD = {}\ndef helper(x):\n    return x {} THRESHOLD\nclass Mine:\n"
    cell += "    def segment(self):\n        return helper(2)\n"
    plain = of_cell(cell.format(1, "+"))
    assert plain == of_cell("\n" + cell.format(1, "+"))
    assert plain != of_cell(cell.format(2, "+"))
    assert plain != of_cell(cell.format(1, "-"))


STRANGE = """
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property, partial
from ovbench.harness.registry.sources import code_of

class Kind(Enum):
    THING, STUFF = "thing", "stuff"

KNOWN = {"cat", "dog", "bird", "cow"}

@dataclass
class Mine:
    names: tuple = ("a", "b")
    kinds: dict = field(default_factory=dict)

    @cached_property
    def known(self):
        return KNOWN | {"horse", "sheep"}

    def segment(self, images):
        kept = [x for x in images if x in {"cat", "dog", "bird", "cow"}]
        return kept, Kind.THING, super().__init__

mine = Mine()
mine.extra = partial(print, *sorted(KNOWN))
print(code_of(mine)["__main__.Mine"])
"""


def test_every_process_finds_the_same_digest(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(STRANGE)
    found = [
        subprocess.run(
            [sys.executable, file],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert found[0] == found[1]
    assert len(found[0].strip()) == 64


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a method and what it imports, neither of them a package."""
    home = tmp_path / "here"
    home.mkdir()
    (home / "mine.py").write_text(METHOD)
    (home / "helpers.py").write_text(HELPERS)
    (home / "unrelated.py").write_text("A = 1\n")
    monkeypatch.syspath_prepend(str(home))
    yield home
    for name in ("mine", "helpers"):
        sys.modules.pop(name, None)


def imported() -> dict[str, str]:
    for name in ("mine", "helpers"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()
    return code_of(importlib.import_module("mine").Mine())


def test_what_a_script_imports_from_beside_it_counts(script: Path, monkeypatch) -> None:
    before = imported()
    assert set(before) == {"ovbench", "mine.Mine"}
    (script / "unrelated.py").write_text("A = 2\n")
    assert imported() == before
    moved = script.with_name("moved")
    shutil.copytree(script, moved)
    monkeypatch.syspath_prepend(str(moved))
    assert imported() == before
    (moved / "helpers.py").write_text(HELPERS.replace("1", "12"))
    assert imported() != before


def test_a_plugin_is_known_by_the_files_of_its_package(tmp_path: Path, monkeypatch) -> None:
    package = tmp_path / "plugged"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "method.py").write_text("class Mine: ...\n")
    (package / "notes.md").write_text("nothing that moves a number")
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = Entry("plugged.method:Mine", "", "plugged-methods")
    monkeypatch.setitem(METHODS.__dict__, "entries", {"mine": entry})
    sources._plugins.cache_clear()
    try:
        assert code_of_entry(entry) == {}  # nothing of it is imported yet
        mine = importlib.import_module("plugged.method").Mine
        before = code_of(mine())
        assert set(before) == {"ovbench", "plugged-methods"}
        assert plugins_in(before) == ("plugged-methods",)
        (package / "notes.md").write_text("nor this")
        assert code_of_entry(entry)["plugged-methods"] == before["plugged-methods"]
        (package / "config.yaml").write_text("layers: 12")
        assert code_of_entry(entry)["plugged-methods"] != before["plugged-methods"]
        assert code_of(mine()) == before  # what was imported stays what it was
    finally:
        sources._plugins.cache_clear()
        sys.modules.pop("plugged.method", None)
        sys.modules.pop("plugged", None)


def test_what_a_method_was_built_with_is_its_settings() -> None:
    class Built:
        def __init__(self, threshold: float, scales: tuple[int, ...], weights: object) -> None:
            self.threshold, self.scales, self.weights, self.seen = threshold, scales, weights, 0

    assert settings_of(Built(0.5, (1, 2), object())) == {"threshold": 0.5, "scales": (1, 2)}
    assert settings_of(Built(float("nan"), (), None)) == {"scales": ()}
