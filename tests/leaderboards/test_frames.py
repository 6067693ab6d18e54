"""Runs as frames of pandas, and the notebook that shows them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_process import ovbench as command

import ovbench
from ovbench.errors import UsageError

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "runs.ipynb"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two floors on three scenes."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("random", "constant"):
        place = folder / name
        words = ("-m", name, "-d", "toyworld", "--limit", 3, "--device", "cpu", "-o", place)
        assert command("run", *words).returncode == 0
    return folder


def test_without_pandas_it_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r"pip install 'ovbench\[notebook\]'"):
        ovbench.load_runs(folder)


@pytest.mark.parametrize("paths", [[], [3], b"runs"])
def test_what_is_no_path_is_one_line(paths: Any) -> None:
    with pytest.raises(UsageError, match="one or more"):
        ovbench.load_runs(paths)


def test_importing_ovbench_imports_no_pandas() -> None:
    program = (
        "import sys, ovbench; ovbench.__all__; assert not {'pandas', 'numpy'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_frame_says_what_results_and_records_say(folder: Path) -> None:
    pandas = pytest.importorskip("pandas")
    found = ovbench.load_runs([folder / "random", str(folder)])
    results = [json.loads((folder / n / "result.json").read_text()) for n in ("random", "constant")]

    runs = found.runs
    assert list(runs["system"]) == ["random", "constant"]
    assert list(runs["miou"]) == [result["metrics"]["miou"] for result in results]
    assert list(runs["path"]) == [str(folder / "random"), str(folder / "constant")]
    assert isinstance(runs["started"].dtype, pandas.DatetimeTZDtype)
    assert np.isnan(runs["peak_gpu_bytes"]).all()
    assert runs["marks"].str.contains("only the first 3 images").all()

    classes = found.classes
    assert len(classes) == 2 * 11
    constant = classes[classes["system"] == "constant"]
    assert list(constant["pred_pixels"]) == [r["pred_pixels"] for r in results[1]["per_class"]]

    images = found.images
    assert len(images) == 2 * 3
    constant = images[images["system"] == "constant"]
    # All pixels are answered with background: its IoU is the accuracy, and all others are zero.
    shown = constant["pixel_accuracy"] / constant["miou"]
    assert np.allclose(shown, shown.round())
    assert (constant["compute_s"] > 0).all()
    assert set(images["run"]) == set(runs["run"])


def test_what_is_no_run_is_refused_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    with pytest.raises(UsageError, match=r"no result\.json here"):
        ovbench.load_runs(tmp_path)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") for cell in cells)
    program = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "toyworld_stuff val" in done.stdout
    assert (tmp_path / "quality-against-speed.png").stat().st_size > 10_000


def test_runs_whose_records_are_gone_are_named_once(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    shutil.copytree(folder, tmp_path / "runs")
    shutil.rmtree(tmp_path / "runs" / "random" / "records")
    found = ovbench.load_runs(tmp_path / "runs")
    with pytest.warns(UserWarning, match=r"runs/random \(0 of 3\)") as warned:
        assert len(found.images) == 3
    assert len(warned) == 1
    assert "constant" not in str(warned[0].message)


@pytest.mark.parametrize("name", ["suite.json", "suite.yaml", "run.json"])
def test_a_file_that_is_no_result_is_not_advised_to_be_rescored(
    folder: Path, tmp_path: Path, name: str
) -> None:
    file = tmp_path / name
    contents = {
        "suite.json": '{"schema_version": 1, "runs": []}',
        "suite.yaml": "methods: [constant]\n",
        "run.json": (folder / "random" / "run.json").read_text(),
    }
    file.write_text(contents[name])
    with pytest.raises(UsageError, match=f"{name}: not a result") as raised:
        ovbench.load_runs(file)
    assert "rescore" not in str(raised.value)
