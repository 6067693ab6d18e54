"""``ovbench results``: a pool of results in which nothing wrong passes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from in_process import ovbench
from PIL import Image

from ovbench.harness.files.json_files import sealed

DOCS = Path(__file__).parents[3] / "docs" / "sharing.md"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of three images in which the classes lie side by side."""
    root = tmp_path_factory.mktemp("own")
    (root / "classes.txt").write_text("background\ncat\ndog\n")
    for kind in ("images", "masks"):
        (root / kind).mkdir()
    for n in range(3):
        mask = np.repeat(np.array([0, 1, 2, n], np.uint8), 4)[None].repeat(12, 0)
        Image.fromarray(mask).save(root / "masks" / f"{n}.png")
        Image.fromarray(np.stack([mask * 80] * 3, -1)).save(root / "images" / f"{n}.png")
    return root


@pytest.fixture(scope="module")
def runs(own: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    words = ["run", "--dataset", "folder", "--root", own, "--device", "cpu", "--output"]
    for method in ("constant", "random"):
        done = ovbench(*words, folder / method, "--method", method)
        assert done.returncode == 0, done.stderr
    maps = ["score", own / "masks", "--dataset", "folder", "--root", own, "--name", "my <b>maps"]
    done = ovbench(*maps, "--encoding", "dataset", "--output", folder / "maps")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def pool(runs: Path, tmp_path: Path) -> Path:
    done = ovbench("results", "add", runs, "--output", tmp_path / "results")
    assert done.returncode == 0, done.stderr
    return tmp_path / "results"


def content_of(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def test_what_was_added_passes_and_is_read_like_any_result(pool: Path, runs: Path) -> None:
    files = sorted(pool.rglob("*.json"))
    assert [path.parts[-3] for path in files] == ["constant", "my_b_maps", "random"]
    for path in files:
        content = content_of(path)
        assert path.stem == content["run"]["id"]
        assert content["identity"]["method"]["name"] == content["run"]["method"]
    done = ovbench("results", "check", pool)
    assert (done.returncode, done.stdout) == (0, "passed: 3 files\n")
    shown = [ovbench("leaderboard", folder, "--format", "csv").stdout for folder in (pool, runs)]
    assert shown[0] == shown[1]
    assert shown[0].count("\n") == 4


def test_what_is_there_stays_unless_it_is_replaced(pool: Path, runs: Path) -> None:
    (path,) = (pool / "random").rglob("*.json")
    before = path.read_bytes()
    again = ovbench("results", "add", runs / "random", "--output", pool)
    assert again.stdout == f"{path}: there already\n"
    slower = content_of(path)
    slower["profile"]["prepare_s"] = 1e3
    path.write_text(json.dumps(sealed(slower)))
    refused = ovbench("results", "add", runs / "random", "--output", pool)
    assert refused.returncode == 2
    assert "another measurement of this run" in refused.stderr
    done = ovbench("results", "add", runs / "random", "--output", pool, "--replace")
    assert done.stdout == f"{path}\n"
    assert path.read_bytes() == before


def put(path: Path, changed: dict[str, Any]) -> None:
    path.write_text(json.dumps(sealed(changed)))


def better(path: Path) -> None:
    text = path.read_text()
    miou = str(content_of(path)["metrics"]["miou"])
    assert miou in text
    path.write_text(text.replace(f'"miou": {miou}', '"miou": 99.5'))


def better_and_sealed(path: Path) -> None:
    content = content_of(path)
    content["metrics"]["miou"] = 99.5
    put(path, content)


def better_class(path: Path) -> None:
    content = content_of(path)
    for row in content["per_class"]:
        row["iou"] = 99.5
    content["metrics"]["miou"] = 99.5
    put(path, content)


def other_settings(path: Path) -> None:
    content = content_of(path)
    content["config"]["label"] = 2
    put(path, content)


def other_identity(path: Path) -> None:
    content = content_of(path)
    content["config"]["label"] = content["identity"]["settings"]["label"] = 2
    put(path, content)


def first_images(path: Path) -> None:
    content = content_of(path)
    content["run"]["num_images"] = 2
    put(path, content)


def older_protocol(path: Path) -> None:
    content = content_of(path)
    content["run"]["protocol_version"] = 1
    put(path, content)


def without_time(path: Path) -> None:
    content = content_of(path)
    del content["profile"]["per_image_s"]["p95"]
    put(path, content)


def endless(path: Path) -> None:
    path.write_text(path.read_text().replace('"fwiou": ', '"fwiou": 1e400, "was": '))


def no_classes(path: Path) -> None:
    put(path, {**content_of(path), "per_class": [None]})


def elsewhere(path: Path) -> None:
    (path.parents[2] / "best").mkdir()
    path.parent.rename(path.parents[2] / "best" / path.parent.name)


def a_link(path: Path) -> None:
    path.rename(path.parents[3] / "kept.json")
    path.symlink_to(path.parents[3] / "kept.json")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (better, "not as it was written"),
        (better_and_sealed, "metrics.miou is not the mean"),
        (better_class, "the IoU of 'background' does not follow"),
        (other_settings, "config is not what its identity says"),
        (other_identity, "its identity's is"),
        (first_images, "2 of 3 images were measured"),
        (older_protocol, "counted as protocol version 1 says"),
        (without_time, "profile.per_image_s.p95 is missing"),
        (endless, "metrics.fwiou is neither null nor 0-100"),
        (no_classes, "not as ovbench writes it"),
        (elsewhere, "belongs into"),
        (a_link, "is no result"),
        (lambda path: path.write_text("[1"), "not readable as JSON"),
        (lambda path: put(path, {"schema_version": 2}), "schema_version is 2"),
        (lambda path: put(path, {"schema_version": 3}), "run.id is not a text"),
        (lambda path: path.rename(path.with_suffix(".txt")), "is no result"),
    ],
)
def test_what_is_wrong_is_found(pool: Path, harm: Callable[[Path], None], words: str) -> None:
    (path,) = (pool / "constant").rglob("*.json")
    harm(path)
    done = ovbench("results", "check", pool)
    assert done.returncode == 3
    assert words in done.stdout
    assert done.stdout.endswith("FAILED: 1 of 3 files\n")
    told = json.loads(ovbench("results", "check", pool, "--json").stdout)
    assert not told["passed"]
    assert any(words in row["problem"] for row in told["problems"])


def test_a_run_that_is_not_whole_is_not_shared(own: Path, runs: Path, tmp_path: Path) -> None:
    limited, edited = tmp_path / "limited", tmp_path / "edited"
    words = ["run", "--method", "constant", "--dataset", "folder", "--root", own]
    ovbench(*words, "--device", "cpu", "--limit", "2", "--output", limited)
    shutil.copytree(runs / "constant", edited)
    content = content_of(edited / "result.json")
    content["metrics"]["boundary_iou"] = 99.5  # which nothing else in the file decides
    put(edited / "result.json", content)
    for run, why in ((limited, "the first 2 images"), (edited, "its records give other numbers")):
        done = ovbench("results", "add", run, "--output", tmp_path / "results")
        assert done.returncode == 2
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("error")]
        assert why in line
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("folder", [".", "nowhere"])
def test_an_empty_folder_passes_no_check(tmp_path: Path, folder: str) -> None:
    done = ovbench("results", "check", tmp_path / folder)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_the_recipe_of_the_docs_checks_what_is_pooled(pool: Path) -> None:
    (recipe,) = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    steps = yaml.safe_load(recipe)["jobs"]["check"]["steps"]
    commands = [line for step in steps for line in step.get("run", "").splitlines()]
    (line,) = [command for command in commands if "ovbench results" in command]
    assert line.split() == ["ovbench", "results", "check", "results"]
    assert ovbench("results", "check", pool).returncode == 0
