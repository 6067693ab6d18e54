"""``ovbench list checkpoints``, and what a run says when real weights are not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from ovbench.cli import main
from ovbench.models.weights.catalogue import ENTRIES

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Empty caches, and a hub where nobody listens."""
    homes = {"HF_HOME": str(tmp_path / "hf"), "TORCH_HOME": str(tmp_path / "torch")}
    return {**os.environ, **homes, "HF_ENDPOINT": "http://127.0.0.1:9"}


def ovbench(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ovbench", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def listed(environment: dict[str, str]) -> dict[str, dict[str, Any]]:
    done = ovbench(environment, "list", "checkpoints", "--json")
    assert done.returncode == 0, done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)}


def test_empty_caches_hold_the_packaged_miniatures_alone(environment: dict[str, str]) -> None:
    rows = listed(environment)
    assert {name for name, row in rows.items() if row["path"] is None} == {
        entry.name for entry in ENTRIES
    }
    miniature = rows["toyworld/clip"]
    weights = Path(miniature["path"]).rglob("*.safetensors")
    assert miniature["bytes"] == sum(file.stat().st_size for file in weights)
    assert (miniature["role"], miniature["source"]) == ("clip", "packaged")
    assert rows["sam_vit_b"]["bytes"] == 375_042_383
    assert rows["sam_vit_b"]["source"].endswith("/sam_vit_b_01ec64.pth")
    assert rows["blip_flickr"]["source"] == "Salesforce/blip-itm-large-flickr"
    assert rows["blip_flickr"]["licence"] == "bsd-3-clause"


def test_what_is_in_the_caches_is_shown_with_its_size(
    environment: dict[str, str], tmp_path: Path
) -> None:
    home = tmp_path / "hf" / "hub" / "models--facebook--dino-vits8"
    snapshot = home / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(COMMIT)
    (snapshot / "config.json").write_text("{}")
    assert listed(environment)["dino_vits8"]["path"] is None  # half a download
    (snapshot / "model.safetensors").write_bytes(bytes(123))
    sam = tmp_path / "torch" / "hub" / "checkpoints" / "sam_vit_b_01ec64.pth"
    sam.parent.mkdir(parents=True)
    sam.write_bytes(bytes(45))
    rows = listed(environment)
    assert (rows["dino_vits8"]["path"], rows["dino_vits8"]["bytes"]) == (str(snapshot), 123)
    assert (rows["sam_vit_b"]["path"], rows["sam_vit_b"]["bytes"]) == (str(sam), 45)


def test_the_table_names_every_checkpoint(environment: dict[str, str]) -> None:
    done = ovbench(environment, "list", "checkpoints")
    assert done.returncode == 0, done.stderr
    for entry in ENTRIES:
        assert entry.name in done.stdout
    assert "toyworld/clip" in done.stdout


def test_a_run_without_network_names_what_to_fetch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    weights = ["--method", "maskclip", "--checkpoints", "real", "--dataset", "toyworld"]
    monkeypatch.setattr(sys, "argv", ["ovbench", "run", *weights, "--limit", "1"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    loading, line = capsys.readouterr().err.strip().splitlines()
    assert loading == "load maskclip"
    assert line.startswith("error: weights timm/vit_base_patch16_clip_224.openai (")
    assert "hf download timm/vit_base_patch16_clip_224.openai open_clip_model.safetensors" in line
