"""Methods of the tests' own, registered as another package would."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, str]]:
    """Make an environment in which methods of a module in this folder are registered.

    Called as ``registered("module", name="Class")``.
    """

    def make(module: str, **methods: str) -> dict[str, str]:
        site = tmp_path_factory.mktemp("site")
        information = site / f"{module}-0.1.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 0.1\n"
        )
        points = "".join(f"{name} = {module}:{attribute}\n" for name, attribute in methods.items())
        (information / "entry_points.txt").write_text(f"[ovbench.methods]\n{points}")
        paths = [str(site), str(Path(__file__).parent)]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}

    return make
