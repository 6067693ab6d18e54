"""``ovbench export``, read back with the trackers' own readers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from in_process import ovbench


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    command = ["run", "--method", "constant", "--dataset", "toyworld", "--device", "cpu"]
    done = ovbench(*command, "--limit", "3", "--output", path)
    assert done.returncode == 0, done.stderr
    return path


def result_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "result.json").read_text())


def test_tensorboard_reads_what_was_exported(run: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    arguments = ["export", run, "--to", "tensorboard", "--logdir", tmp_path]
    done = ovbench(*arguments)
    assert done.returncode == 0, done.stderr
    result = result_of(run)
    folder = tmp_path / f"constant-toyworld-{result['run']['id']}"
    assert done.stdout == f"{folder}\n"
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    values = {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]}
    assert values["metrics/miou"] == pytest.approx(result["metrics"]["miou"])
    defined = result["metrics"]["definitions"]["gt_only"]
    assert values["metrics/definitions/gt_only"] == pytest.approx(defined)
    assert values["profile/per_image_s/p95"] == pytest.approx(
        result["profile"]["per_image_s"]["p95"]
    )
    assert values["profile/peak_rss_bytes"] == pytest.approx(result["profile"]["peak_rss_bytes"])
    classes = {c["name"]: c["iou"] for c in result["per_class"] if c["iou"] is not None}
    exported = {k.removeprefix("per_class_iou/"): v for k, v in values.items() if "class_iou" in k}
    assert exported == pytest.approx(classes)
    (text,) = events.Tensors("settings/text_summary")
    assert b'"label": 0' in text.tensor_proto.string_val[0]
    session = events.SummaryMetadata("_hparams_/session_start_info")
    content = session.plugin_data.content
    assert b"settings/label" in content
    assert b"toyworld/plain" in content
    again = ovbench(*arguments)
    assert again.returncode == 2
    assert "exported before" in again.stderr


def test_wandb_offline_holds_what_was_exported(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "ovbench", "export", str(run), "--to", "wandb"]
    done = subprocess.run(
        [*command, "--project", "p"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = result_of(run)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    assert folder.name.endswith(result["run"]["id"])
    assert done.stdout.splitlines()[-1] == str(folder / "files")
    (table,) = (folder / "files" / "media" / "table").glob("per_class_*.json")
    rows = json.loads(table.read_text())["data"]
    assert [row[:2] for row in rows] == [[c["name"], c["iou"]] for c in result["per_class"]]
    (log,) = folder.glob("*.wandb")
    content = log.read_bytes()
    values = [str(result["metrics"][name]) for name in ("miou", "pixel_accuracy")]
    names = ["metrics/miou", "per_class_iou/background", "profile/prepare_s", "settings/label"]
    for words in (*names, *values, "toyworld/plain"):
        assert words.encode() in content


@pytest.mark.parametrize(
    ("package", "arguments"), [("tensorboard", ["--logdir", "logs"]), ("wandb", [])]
)
def test_a_missing_package_is_one_line(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if package in name.split(".")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    done = ovbench("export", run, "--to", package, *arguments)
    assert done.returncode == 2
    assert done.stderr == f"error: {package} is not installed: pip install {package}\n"
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "wandb", "--logdir", "logs"], "--logdir goes with --to tensorboard"),
        (["--to", "tensorboard", "--project", "p"], "--project with --to wandb"),
        (["--to", "tensorboard", "/nowhere"], "no result.json"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    run: Path, arguments: list[str], message: str
) -> None:
    done = ovbench("export", run, *arguments)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert message in line
