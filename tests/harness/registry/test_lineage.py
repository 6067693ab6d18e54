"""What a method inherits is read from source, through bases in other modules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ovbench.errors import UsageError
from ovbench.harness.registry.glance import card_of, preset_names, refuse_unknown_names
from ovbench.harness.registry.names import METHODS, Entry

BASES = """
import no_such_module
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol

@dataclass(frozen=True)
class BaseSettings:
    KINDS: ClassVar[tuple[str, ...]] = ("a",)
    logit_scale: float = 40.0

class Root(Protocol):
    card = MethodCard(summary="the base's", kind="floor")

class Base(Root, Generic[T]):
    Settings = BaseSettings
    presets: ClassVar[dict] = {"plain": {}}
    published: ClassVar[tuple] = rows_of_a_base()

class Other(Root):
    card = MethodCard(summary="the other's", kind="floor")
"""
CHILDREN = """
from dataclasses import dataclass
from {bases} import Base, BaseSettings as Common, Other
import {bases} as bases

@dataclass(frozen=True)
class ChildSettings(Common):
    sigma: float = 5.0

class Child(Base[int]):
    Settings = ChildSettings
    presets = {{"wide": {{"sigma": 9.0}}}}

class Heir(Base):
    pass

class Childless(Base):
    published = ()

class Both(Base, Other):
    pass

class Odd(bases.Base):
    presets = {{"own": {{}}}}

class Loop(Loop):
    presets = {{"own": {{}}}}
"""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Register a class of CHILDREN, and return its name as a method."""
    own = f"{tmp_path.name}_children"  # another one for every test: sources are read once
    bases = f"{tmp_path.name}_bases"
    (tmp_path / f"{bases}.py").write_text(BASES)
    (tmp_path / f"{own}.py").write_text(CHILDREN.format(bases=bases))
    monkeypatch.syspath_prepend(tmp_path)

    def register(name: str) -> str:
        monkeypatch.setitem(METHODS.entries, name.lower(), Entry(f"{own}:{name}"))  # type: ignore[misc]
        return name.lower()

    return register


def test_settings_and_rows_of_a_base_are_known(written: Callable[[str], str]) -> None:
    child = written("Child")
    assert preset_names(child) == ["wide", "published"]
    refuse_unknown_names(child, "published", ["sigma", "logit_scale"])
    with pytest.raises(UsageError, match="no setting 'logit_scal'; did you mean 'logit_scale'"):
        refuse_unknown_names(child, None, ["logit_scal"])
    with pytest.raises(UsageError, match="no setting 'KINDS'; there are: logit_scale, sigma"):
        refuse_unknown_names(child, None, ["KINDS"])
    with pytest.raises(UsageError, match="no preset 'plain'; it has: wide, published"):
        refuse_unknown_names(child, "plain", [])


def test_a_class_has_what_it_does_not_say_itself(written: Callable[[str], str]) -> None:
    heir = written("Heir")
    assert preset_names(heir) == ["plain", "published"]
    card = card_of(heir)
    assert card is not None
    assert card.summary == "the base's"
    with pytest.raises(UsageError, match="no setting 'sigma'"):
        refuse_unknown_names(heir, None, ["sigma"])


def test_an_empty_table_takes_the_rows_back(written: Callable[[str], str]) -> None:
    with pytest.raises(UsageError, match="no preset 'published'; it has: plain"):
        refuse_unknown_names(written("Childless"), "published", [])


def test_a_base_of_two_comes_behind_both(written: Callable[[str], str]) -> None:
    card = card_of(written("Both"))
    assert card is not None
    assert card.summary == "the other's"


@pytest.mark.parametrize("name", ["Odd", "Loop"])
def test_what_is_not_plain_is_not_refused(written: Callable[[str], str], name: str) -> None:
    """A base that nobody can read may have more."""
    odd = written(name)
    assert preset_names(odd) == ["own"]
    refuse_unknown_names(odd, "published", ["anything"])
    with pytest.raises(UsageError, match="no preset 'plain'; it has: own"):
        refuse_unknown_names(odd, "plain", [])
