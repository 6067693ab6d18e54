"""A cache that the miniature Stable Diffusion has filled, and a painter for quicker pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from recipes import COUNT, NAMES, RECIPE, RUNTIME, Painter

from ovbench.models.diffusion import model as diffusion
from ovbench.support import SupportSet, SupportSets


@pytest.fixture(scope="session")
def cold(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[SupportSet]]:
    """A cache and what filling it returned."""
    folder = tmp_path_factory.mktemp("filled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVBENCH_CACHE", str(folder))
        return folder, SupportSets(RECIPE, RUNTIME).make(NAMES, COUNT)


@pytest.fixture
def warm(cold: tuple[Path, list[SupportSet]], cache: Path) -> list[SupportSet]:
    """This test's cache is filled; returns what filling it returned."""
    shutil.copytree(cold[0], cache)
    return cold[1]


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch) -> Painter:
    """Takes the place of every Stable Diffusion."""
    one = Painter()
    monkeypatch.setattr(diffusion, "load_diffusion", lambda _name, _runtime: one)
    return one
