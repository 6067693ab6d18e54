"""``ovbench datasets`` as a user types it, and from an archive to a result."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner
from weight_servers import Page, PageHandler, serving

from ovbench.cli.app import app
from ovbench.datasets.fetching import archives, prepare


def ovbench(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ovbench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_from_an_archive_to_a_result(
    tiny_voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as file:
        file.add(tiny_voc / "VOCdevkit", "VOCdevkit")
    page = Page(packed.getvalue(), breaks_after=len(packed.getvalue()) // 2)
    digest = f"md5:{hashlib.md5(page.body).hexdigest()}"
    with serving(PageHandler, page) as address:
        archive = replace(archives.VOC2012, url=f"{address}/voc.tar", digest=digest)
        monkeypatch.setattr(prepare, "CATALOGUE", {"voc": {None: (archive,)}})
        root, run = tmp_path / "root", CliRunner().invoke
        done = run(app, ["datasets", "prepare", "voc21", "--root", str(root)])
    assert done.exit_code == 0, done.output
    assert f"`ovbench datasets verify voc --root {root}`" in done.output
    verified = ovbench("datasets", "verify", "voc", "--root", root, "--json")
    assert verified.returncode == 0
    report = json.loads(verified.stdout)
    assert (report["images"], report["expected_images"], report["problems"]) == (5, 1449, [])
    assert sum(row["pixels"] for row in report["per_class"]) > 0
    result = ovbench("run", "--method", "constant", "--dataset", "voc", "--root", root,
                     "--output", tmp_path / "run", "--json")  # fmt: skip
    assert result.returncode == 0, result.stderr
    warnings = json.loads(result.stdout)["run"]["warnings"]
    assert warnings[0] == "voc val has 5 images here; the official list has 1449"


def test_preparing_what_a_program_cannot_fetch(tmp_path: Path) -> None:
    done = ovbench("datasets", "prepare", "cityscapes", "--root", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: cityscapes cannot be fetched by a program: register at")
    assert done.stderr.count("\n") == 1
    done = ovbench("datasets", "prepare", "vok", "--root", tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: no dataset 'vok'; did you mean 'voc'?\n")


def test_showing_a_dataset(tiny_voc: Path, tmp_path: Path) -> None:
    done = ovbench("datasets", "show", "voc", "--root", tiny_voc, "--n", 3, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "voc-val.png\n")
    with Image.open(tmp_path / "voc-val.png") as sheet:
        assert min(sheet.size) > 200
    again = ovbench("datasets", "show", "voc", "--root", tiny_voc, "--n", 3, "--output",
                    tmp_path / "again.png")  # fmt: skip
    assert again.returncode == 0
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "voc-val.png").read_bytes()


def test_showing_what_can_be_read(tiny_voc: Path, tmp_path: Path) -> None:
    labels = tiny_voc / "VOCdevkit" / "VOC2012" / "SegmentationClass"
    files = sorted(labels.iterdir())
    files[0].unlink()
    arguments = ("datasets", "show", "voc", "--root", tiny_voc, "--output", tmp_path / "a.png")
    done = ovbench(*arguments)
    assert done.returncode == 0
    assert f"left out: {files[0]}: no such file" in done.stderr
    for file in files[1:]:
        file.unlink()
    (tmp_path / "a.png").unlink()
    done = ovbench(*arguments)
    assert done.returncode == 2
    assert done.stderr.endswith("error: voc: none of the chosen images can be read\n")
    assert not (tmp_path / "a.png").exists()
    done = ovbench("datasets", "show", "toyworld", "--output", tmp_path / "no" / "a.png")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


def test_verifying_a_variant(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    for name in ("a", "b"):
        Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(tmp_path / "images" / f"{name}.jpg")
    Image.fromarray(np.ones((2, 3), np.uint8)).save(tmp_path / "masks" / "a.png")
    done = ovbench("datasets", "verify", "folder", "--root", tmp_path)
    assert done.returncode == 2
    assert f"folder ({tmp_path.name}) all: 1 of 2 images read" in done.stdout
    assert f"problem: {tmp_path / 'masks' / 'b.png'}: no such file" in done.stdout
    assert "warning: no pixel of cat" in done.stdout
    done = ovbench("datasets", "verify", "folder", "--root", tmp_path, "--variant", "x")
    assert done.returncode == 2
    assert "folder has no variants" in done.stderr
