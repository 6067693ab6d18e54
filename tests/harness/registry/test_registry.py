from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest

from ovbench.errors import UsageError
from ovbench.harness.registry.names import DATASETS, METHODS, Entry, Registry


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(UsageError, match="did you mean 'maskclip'"):
        METHODS.entry("mask_clip")
    with pytest.raises(UsageError, match=r"there are: .*toyworld"):
        DATASETS.entry("zzz")


@pytest.mark.parametrize("registry", [METHODS, DATASETS])
def test_every_builtin_entry_resolves(registry: Registry) -> None:
    for name in registry.entries:
        assert callable(registry.load(name))


def test_a_name_that_two_packages_claim_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("maskclip", "elsewhere:MaskCLIP", "ovbench.methods")
    monkeypatch.setattr("ovbench.harness.registry.names.entry_points", lambda group: [point])
    registry = Registry("method", "ovbench.methods", {"maskclip": Entry("a:B", "")})
    with pytest.raises(UsageError, match="'maskclip' of package unknown is already provided by"):
        registry.entry("maskclip")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            "mine.method",
            r"of package unknown: its entry point is 'mine\.method'; below "
            r'\[project\.entry-points\."ovbench\.methods"\] write my_one = "module:attribute", '
            r"such as my_one = 'mine\.method:MyOne', and install it again$",
        ),
        (":Mine", r"such as my_one = 'my_one:MyOne'"),
        ("json:JSONDecoder", r"json:JSONDecoder has no Settings; its entry point names another"),
        ("json:__name__", r"json:__name__ has no Settings"),
        ("ovbench.adapters.chance:Constant.nothing", "cannot be imported: .*nothing"),
    ],
)
def test_an_entry_point_that_names_no_method_says_what_to_write(
    monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    point = EntryPoint("my_one", value, "ovbench.methods")
    monkeypatch.setattr("ovbench.harness.registry.names.entry_points", lambda group: [point])
    registry = Registry("method", "ovbench.methods", {}, has=("Settings",))
    with pytest.raises(UsageError, match=said):
        registry.load("my_one")


@pytest.mark.parametrize("value", ["types:SimpleNamespace", "types:SimpleNamespace [extra]"])
def test_an_entry_point_may_name_what_it_needs(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    point = EntryPoint("mine", value, "ovbench.datasets")
    monkeypatch.setattr("ovbench.harness.registry.names.entry_points", lambda group: [point])
    assert Registry("dataset", "ovbench.datasets", {}).load("mine") is SimpleNamespace


def test_what_cannot_be_called_is_no_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("mine", "math:pi", "ovbench.datasets")
    monkeypatch.setattr("ovbench.harness.registry.names.entry_points", lambda group: [point])
    with pytest.raises(UsageError, match="math:pi cannot be called"):
        Registry("dataset", "ovbench.datasets", {}).load("mine")


def test_a_module_that_is_not_there_is_one_clear_line() -> None:
    registry = Registry("method", "ovbench.nothing", {"gone": Entry("no_such_module:X", "")})
    with pytest.raises(UsageError, match="'gone' of package ovbench cannot be imported"):
        registry.load("gone")


@pytest.mark.parametrize(
    ("source", "said"),
    [("def f(:\n", "invalid syntax"), ("import sys\nsys.exit(0)\n", "it ends the program")],
)
def test_a_module_that_is_no_library_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, said: str
) -> None:
    (tmp_path / "no_library.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry("method", "ovbench.nothing", {"bad": Entry("no_library:X", "")})
    with pytest.raises(UsageError, match=f"'bad' of package ovbench cannot be imported: .*{said}"):
        registry.load("bad")
