"""What a user gets: the wheel has everything, and the public names resolve."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import ovbench

REPOSITORY = Path(__file__).resolve().parent.parent


def test_public_names_resolve() -> None:
    for name in ovbench.__all__:
        assert getattr(ovbench, name).__name__ == name


def test_the_version_is_the_package_s() -> None:
    written = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert ovbench.__version__ == written
    with pytest.raises(AttributeError, match="no attribute 'version'"):
        ovbench.version  # noqa: B018


def test_importing_the_package_costs_nothing() -> None:
    program = "import sys, ovbench; assert not {'numpy', 'torch', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_wheel_has_names_weights_and_types(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps",
        "--no-build-isolation", "--wheel-dir", str(tmp_path), str(REPOSITORY),
    ]  # fmt: skip
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    package = REPOSITORY / "ovbench"
    wanted = {
        str(path.relative_to(REPOSITORY))
        for pattern in (
            *("**/*.py", "datasets/names/**/*.txt", "toyworld/weights/**/*", "py.typed"),
            *("leaderboards/report/static/*", "scaffold/templates/**/*"),
        )
        for path in package.glob(pattern)
        if path.is_file()
    }
    assert wanted <= held
    assert "ovbench/toyworld/weights/clip/card.json" in held
    assert wheel.stat().st_size < 50 * 2**20
